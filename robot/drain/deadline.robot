*** Settings ***
Documentation       What happens when the deadline of a drain has passed, and what a caller who waits is told.
Library             DateTime
Resource            PoolManagerResources/scenario.resource
Test Tags           drain


*** Test Cases ***
At the deadline the engine is stopped by force, leases or not
    [Tags]    B-DRAIN-005    OC-POOL-3010
    Given a ready pool whose engine ignores SIGTERM    stop.grace_ms=200 ms
    And 2 leases are held on the pool
    And a completion of 4000 tokens runs under a lease
    When the pool is drained    deadline=300 ms
    Then the drain ends within 3 s as forced
    And the event's details.leases_forced is 2
    And the stop ladder gave the engine 200 ms between SIGTERM and SIGKILL
    And the completion is cut off within 0 s
    And no process of the pool is left within 0 s
    And the pool shows    phase stopped    active_leases 0    desired stopped

Traffic without a lease is cut off at the deadline too
    [Tags]    B-DRAIN-019    OC-POOL-3010
    Given a ready pool whose engine generates 50 tokens per second
    And a completion of 1000 tokens runs without a lease
    When a caller waits 10 s for the drain of the pool    deadline=300 ms
    Then the answer's outcome is forced
    And the answer's leases_forced is 0
    And it takes at least 300 ms
    And it takes at most 2 s
    And the completion is cut off within 1 s

An engine that tells nothing now may be at work, and is waited for until the deadline
    [Tags]    B-DRAIN-019    OC-POOL-3010
    Given a ready pool    liveness.failures=${1000}    stop.grace_ms=200 ms
    And the engine hangs
    When a caller waits 10 s for the drain of the pool    deadline=700 ms
    Then the answer's outcome is forced
    And it takes at least 700 ms
    And it takes at most 3 s

A deadline of 0 stops at once, by the stop ladder
    [Tags]    B-DRAIN-018    OC-POOL-3010
    Given a ready pool whose engine ignores SIGTERM    stop.grace_ms=200 ms    drain.deadline_ms=30 s
    And a lease is held on the pool
    When a caller waits 10 s for the drain of the pool    deadline=0 s
    Then the answer's outcome is forced
    And the answer's leases_forced is 1
    And it takes at most 2 s
    And the stop ladder gave the engine 200 ms between SIGTERM and SIGKILL
    And the pool is in phase stopped

Who waits for a drain that work ended in time is told so
    [Tags]    B-DRAIN-011    OC-POOL-3010
    Given a ready pool
    And 2 leases are held on the pool for 300 ms
    When a caller waits 10 s for the drain of the pool    deadline=9 s
    Then it answers 200
    And the answer's outcome is drained
    And the answer's leases_forced is 0
    And the answer's waited_ms is the time that the caller waited, within 200 ms

Who waits for a drain that ran into its deadline is told so
    [Tags]    B-DRAIN-011    OC-POOL-3010
    Given a ready pool
    And 3 leases are held on the pool
    When a caller waits 10 s for the drain of the pool    deadline=300 ms    protocol=gRPC
    Then it is accepted
    And the answer's outcome is forced
    And the answer's leases_forced is 3
    And the answer's waited_ms is the time that the caller waited, within 200 ms


*** Keywords ***
The answer's waited_ms is the time that the caller waited, within ${tolerance}
    [Documentation]    As the caller's own clock says.
    ${seconds} =    Answer Time
    ${limit} =    Convert Time    ${tolerance}
    Answer Field    waited_ms    validate    abs(value - ${seconds} * 1000) <= ${limit} * 1000

The stop ladder gave the engine ${grace} between SIGTERM and SIGKILL
    [Documentation]    It was not asked and killed in one breath, and the kill did not come late.
    ${events} =    Get Events    the pool    kind=phase    from=stopping    to=stopped
    Should Be True    ${events}[-1][details][forced]
    Time Between Phases    stopping    stopped    >=    ${grace}
    Time Between Phases    stopping    stopped    <=    1.5 s
