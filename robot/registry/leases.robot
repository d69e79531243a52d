*** Settings ***
Documentation       Active leases are those granted and neither released nor expired.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
A granted lease says where to go, and counts at once
    [Tags]    B-REG-090    B-REG-091
    Given a ready pool    slots=3
    And a lease is held on the pool
    When a caller asks for a lease on the pool    ttl=20 s
    Then it answers 201
    And the pool shows active_leases 2
    And the answer says which lease it is and where to go    20 s

A released lease counts no more, and other pools' leases stay
    [Tags]    B-REG-092    B-REG-093
    Given these ready pools    name | slots    chat | 4    code | 4
    And 2 leases are held on pool code
    And 2 leases are held on pool chat
    When the lease is released
    Then it answers 204
    And pool chat shows active_leases 1
    And pool code shows active_leases 2

A lease that ends in every way counts once
    [Tags]    B-REG-094
    Given a ready pool    slots=4
    And the status is watched
    When a caller asks for a lease on the pool    ttl=80 ms
    And an event of kind lease comes within 2 s    details.action=expired
    And the lease is released
    Then it answers 204
    And the pool shows active_leases 0
    When a caller asks for a lease on the pool
    And the lease is released
    And the released lease is released again
    And the released lease is released again
    Then it answers 204
    And the pool shows    active_leases 0    slots_free 4
    And every status had status['active_leases'] >= 0

Whatever the order, the count is right
    [Tags]    B-REG-095    B-REG-094
    Given a ready pool    slots=8
    When 100 random lease operations are done on the pool
    Then the active leases of the pool are those granted and neither released nor expired


*** Keywords ***
The answer says which lease it is and where to go
    [Documentation]    Exactly the fields of a lease; it ends when its time to live is over.
    [Arguments]    ${ttl}
    ${lease} =    Answer Body
    ${id} =    Get Pool Id
    ${url} =    Get Replica Field    r0    url
    Should Be Equal    ${{ [$lease['pool_id'], $lease['replica_id'], $lease['url']] }}    ${{ [$id, 'r0', $url] }}
    Should Match Regexp    ${lease}[lease_id]    ^\\S{8,}$
    Should Match Regexp    ${lease}[expires_at]    ^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$
    ${left} =    Evaluate    datetime.datetime.fromisoformat($lease['expires_at']).timestamp() - time.time()
    ${seconds} =    Evaluate    robot.utils.timestr_to_secs($ttl)
    Should Be True    ${seconds} - 5 <= ${left} <= ${seconds}    The lease has ${left} s left.
