*** Settings ***
Documentation       A drain is the operator's intent: it outlives the daemon.
Library             DateTime
Resource            PoolManagerResources/scenario.resource
Test Tags           drain    OC-POOL-3010


*** Test Cases ***
A drain goes on with its deadline after a kill of the daemon
    [Tags]    B-DRAIN-014
    Given a daemon of its own
    And a ready pool
    And 2 leases are held on the pool    ttl=60 s
    And the pid of the engine is noted
    And the pool is drained    deadline=4 s
    When the daemon is killed and started again
    Then the pool shows    draining true    desired stopped    active_leases 2
    And the engine is still the same process
    When a caller asks for a lease on the pool
    Then it is refused with 409 POOL_DRAINING
    And the drain ends as forced 4 s after it began, within 1 s

A drained pool stays stopped over restarts of the daemon, until the next preload
    [Tags]    B-DRAIN-016
    Given a daemon of its own
    And a ready pool    preload=True
    And a caller waits 10 s for the drain of the pool
    When the daemon is killed and started again
    Then the pool shows    desired stopped    phase stopped    live false
    When the daemon is stopped and started again
    Then the pool shows    desired stopped    phase stopped    live false
    And no engine process was started
    When a caller waits 10 s for the preload of the pool
    Then the pool shows    desired running    ready true


*** Keywords ***
The drain ends as ${outcome} ${time} after it began, within ${tolerance}
    [Documentation]    By the times of its events: the one of its beginning is older than the kill.
    Drain Should End    ${outcome}    within=10 s
    ${ends} =    Get Event    at
    ${starts} =    Get Events    the pool    kind=drain    to=started
    ${took} =    Subtract Date From Date    ${ends}    ${starts}[0][at]
    ${least} =    Convert Time    ${time}
    ${more} =    Convert Time    ${tolerance}
    Should Be True    ${least} - 0.05 <= ${took} <= ${least} + ${more}    The drain took ${took} s.
