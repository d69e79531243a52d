*** Settings ***
Documentation       How long a lease lives.
Library             DateTime
Resource            PoolManagerResources/scenario.resource
Test Tags           leases


*** Test Cases ***
A lease that nobody renews ends after its time, and its slot is free
    [Tags]    B-LEASE-004
    Given a ready pool    slots=1    lease.ttl_ms=400 ms
    When a lease is held on the pool
    Then an event of kind lease comes within 1400 ms    details.action=expired
    And the lease lived for at least 400 ms
    And the pool shows    active_leases 0    slots_free 1
    When a caller asks for a lease on the pool
    Then it answers 201

A lease lives for 30 s where nothing else is said
    [Tags]    B-LEASE-004
    Given a ready pool
    When a caller asks for a lease on the pool
    Then it answers 201
    And the lease expires 30 s from now, give or take 1 s

A caller may say how long
    [Tags]    B-LEASE-004
    Given a ready pool
    When a caller asks for a lease on the pool    ttl=7 s
    Then it answers 201
    And the lease expires 7 s from now, give or take 1 s

A renewal gives a full time from now
    [Tags]    B-LEASE-005
    Given a ready pool    lease.ttl_ms=20 s
    And a lease is held on the pool
    And Sleep Quietly    300 ms
    When the lease is renewed
    Then it answers 200
    And the lease was renewed for 20 s from now, give or take 200 ms
    When the lease is renewed    ttl=5 s
    Then it answers 200
    And the lease was renewed for 5 s from now, give or take 200 ms

A lease renewed in time lives on
    [Tags]    B-LEASE-005
    Given a ready pool
    When a lease of 600 ms is held on the pool and renewed every 150 ms
    Then it is active for 1500 ms

An expired lease is counted and logged
    [Tags]    B-LEASE-006    OC-POOL-3030
    Given a ready pool
    And the metric lease_expired_total of the pool is noted
    When 2 leases are held on the pool    ttl=200 ms
    Then the metric lease_expired_total of the pool has risen by 2
    And the daemon's log names both leases and the pool

A released lease is not counted as expired
    [Tags]    B-LEASE-006    OC-POOL-3030
    Given a ready pool
    And the metric lease_expired_total of the pool is noted
    And a lease is held on the pool    ttl=200 ms
    When the lease is released
    Then no event of kind lease comes within 400 ms    details.action=expired
    And the metric lease_expired_total of the pool has risen by 0


*** Keywords ***
The lease lived for at least ${time}
    [Documentation]    From its grant to its end, by the events' own times.
    ${granted} =    Get Events    the pool    kind=lease    details.action=granted
    ${ended} =    Get Event    at
    ${lived} =    Subtract Date From Date    ${ended}    ${granted}[0][at]
    ${least} =    Convert Time    ${time}
    Should Be True    ${lived} >= ${least} - 0.01    The lease lived for ${lived} s.

The lease expires ${time} from now, give or take ${tolerance}
    [Documentation]    As it was granted.
    ${at} =    Answer Field    expires_at
    Lies Ahead    ${at}    ${time}    ${tolerance}

The lease was renewed for ${time} from now, give or take ${tolerance}
    [Documentation]    As the renewal says, and the list of leases as well.
    ${at} =    Answer Field    expires_at
    Lies Ahead    ${at}    ${time}    ${tolerance}
    ${leases} =    Get Leases
    Should Be Equal    ${leases}[0][expires_at]    ${at}

Lies Ahead
    [Documentation]    Counted from the moment between question and answer.
    [Arguments]    ${at}    ${time}    ${tolerance}
    ${ahead} =    Evaluate    __import__('datetime').datetime.fromisoformat($at).timestamp() - __import__('time').time()
    ${wanted} =    Convert Time    ${time}
    ${more} =    Convert Time    ${tolerance}
    Should Be True    ${wanted} - ${more} <= ${ahead} <= ${wanted} + ${more}    It lies ${ahead} s ahead.

A lease of ${ttl} is held on ${pool:the pool|pool [\w-]+} and renewed every ${time}
    [Documentation]    In the background.
    Hold Lease    ${pool}    ttl=${ttl}    renew_every=${time}

It is active for ${time}
    [Documentation]    No event tells of its end, and it is listed all the same afterwards.
    No Event Should Come    the pool    during=${time}    kind=lease    details.action=~expired|released|forced
    Listed Leases Should Be Those Held

The daemon's log names both leases and the pool
    [Documentation]    One record each.
    ${leases} =    Get Granted Leases
    FOR    ${lease}    IN    @{leases}
        Daemon Log Should Have    event=lease    action=expired    lease_id=${lease}[lease_id]    pool=the pool
    END
