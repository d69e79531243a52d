*** Settings ***
Documentation       What becomes of leases when the engine or the daemon dies, and which ones the daemon knows of.
Resource            PoolManagerResources/scenario.resource
Test Tags           leases


*** Test Cases ***
The list holds what was granted and neither released nor expired
    [Tags]    B-LEASE-013
    Given a ready pool    replicas=2    slots=4
    And Wait Until Expression    all(one['ready'] for one in status['replicas'])    within=10 s
    And a caller asks for a lease on the pool    holder=first
    And a caller asks for a lease on the pool    holder=second    ttl=100 ms
    And a caller asks for a lease on the pool    holder=third
    When an event of kind lease comes within 2 s    details.action=expired
    And a caller asks for a lease on the pool    holder=fourth
    And the lease is released
    Then the daemon lists the leases of first and third as they were granted

A crash of the engine ends its leases, and their holders learn why
    [Tags]    B-LEASE-011    OC-POOL-3010
    Given a ready pool    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And 2 leases are held on the pool
    And the metric lease_forced_total of the pool is noted
    When the engine is killed by SIGSEGV
    Then the pool becomes unready within 1 s
    And the metric lease_forced_total of the pool has risen by 2
    And the pool shows active_leases 0
    And the pool becomes ready within 10 s
    When the lease is renewed
    Then it is refused with 404 LEASE_NOT_FOUND
    And the error's details.ended is forced
    And Error Field    details.reason    contains    ENGINE_EXITED

A crash of one replica ends the leases on it alone
    [Tags]    B-LEASE-011    OC-POOL-3010
    Given a ready pool    replicas=2    slots=2    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And Wait Until Expression    all(one['ready'] for one in status['replicas'])    within=10 s
    And 4 leases are held on the pool
    When engine r1 is killed
    Then an event of kind lease comes within 1 s    details.action=forced    replica_id=r1
    And the daemon lists two leases, both on r0

Leases outlive a kill of the daemon
    [Tags]    B-LEASE-009
    Given a daemon of its own
    And a ready pool
    And a caller asks for a lease on the pool    ttl=60 s    holder=first
    And a caller asks for a lease on the pool    ttl=50 s    holder=second
    And the list of leases is noted
    When the daemon is killed and started again
    Then the list of leases is as noted
    And the pool shows active_leases 2
    And the pool is in phase ready within 10 s
    When the lease is renewed    ttl=55 s
    Then it answers 200
    When the lease is released
    Then it answers 204
    And the pool shows    active_leases 1


*** Keywords ***
The daemon lists the leases of first and third as they were granted
    [Documentation]    Holder, replica, url and expiry are those of the grants.
    ${listed} =    Get Leases
    ${granted} =    Get Granted Leases
    ${wanted} =    Evaluate    [lease for lease in $granted if lease['holder'] in ('first', 'third')]
    Should Be Equal    ${listed}    ${wanted}

The daemon lists two leases, both on r0
    [Documentation]    Those on the other replica are over.
    ${listed} =    Get Leases
    ${replicas} =    Evaluate    [lease['replica_id'] for lease in $listed]
    Should Be Equal    ${replicas}    ${{ ['r0', 'r0'] }}

The list of leases is noted
    [Documentation]    For the next phrase.
    ${leases} =    Get Leases
    Length Should Be    ${leases}    2
    VAR    ${NOTED LEASES} =    ${{ sorted($leases, key=str) }}    scope=TEST

The list of leases is as noted
    [Documentation]    Ids, holders and expiries, in whatever order.
    ${leases} =    Get Leases
    Should Be Equal    ${{ sorted($leases, key=str) }}    ${NOTED LEASES}
