*** Settings ***
Documentation       A drain is the operator's intent: it outlives the daemon.
Library             DateTime
Resource            PoolManagerResources/scenario.resource
Test Tags           drain    OC-POOL-3010


*** Test Cases ***
A drain goes on after a kill of the daemon and still refuses leases
    [Tags]    B-DRAIN-014
    Given a daemon of its own
    And a ready pool
    And 2 leases are held on the pool    ttl=120 s
    And the pid of the engine is noted
    And the pool is drained    deadline=90 s
    When the daemon is killed and started again
    Then the pool shows    draining true    desired stopped    active_leases 2
    When a caller asks for a lease on the pool
    Then it is refused with 409 POOL_DRAINING
    And the engine is still the same process
    When all leases are released
    Then the drain ends within 5 s as drained

Its deadline is the same after a kill of the daemon
    [Tags]    B-DRAIN-014
    Given a daemon of its own
    And a ready pool
    And a lease is held on the pool    ttl=120 s
    And the pool is drained    deadline=2500 ms
    When the daemon is killed
    And it is not there for 1 s
    And the daemon is started
    Then the drain ends as forced 2500 ms after it began, or as soon as the daemon is there, within 1 s

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
It is not there for ${time}
    [Documentation]    So that a deadline which began anew would be told from the old one.
    Sleep Quietly    ${time}

The drain ends as ${outcome} ${time} after it began, or as soon as the daemon is there, within ${tolerance}
    [Documentation]    By the times of its events: the one of its beginning is older than the kill.
    Drain Should End    ${outcome}    within=20 s
    ${ends} =    Get Event    at
    ${begins} =    Get Events    the pool    kind=drain    to=started
    ${daemons} =    Get Events    kind=daemon    to=started
    ${took} =    Subtract Date From Date    ${ends}    ${begins}[0][at]
    ${away} =    Subtract Date From Date    ${daemons}[-1][at]    ${begins}[0][at]
    ${least} =    Convert Time    ${time}
    ${more} =    Convert Time    ${tolerance}
    Should Be True    ${least} - 0.05 <= ${took} <= max(${least}, ${away}) + ${more}
    ...    The drain took ${took} s, the daemon was there again after ${away} s.
