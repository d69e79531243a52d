*** Settings ***
Documentation       A drain refuses new work at once and lets the work in flight end.
Resource            PoolManagerResources/scenario.resource
Test Tags           drain


*** Test Cases ***
A draining pool says so before any lease has ended
    [Tags]    B-DRAIN-001    OC-POOL-3010
    Given a ready pool
    And 2 leases are held on the pool
    When the pool is drained    deadline=10 s
    Then it answers 202
    And the answer's draining is true
    And the pool shows    draining true    phase draining    active_leases 2    desired stopped

From its acceptance on, a drain lets nobody in
    [Tags]    B-DRAIN-002    OC-POOL-3010
    Given a ready pool    slots=64
    And 8 callers take leases on the pool for 5 ms each, again and again
    And a lease is held on the pool
    When the pool is drained    deadline=10 s
    Then it is accepted
    And from now on these callers get nothing but POOL_DRAINING

Fifty callers at once are all told that the pool drains
    [Tags]    B-DRAIN-002    OC-POOL-3010
    Given a ready pool    slots=64
    And a lease is held on the pool
    When the pool is drained    deadline=10 s
    And 50 callers ask for a lease on the pool at once
    Then the callers get 50 POOL_DRAINING

A completion begun before the drain goes on to its last token
    [Tags]    B-DRAIN-003    OC-POOL-3010
    Given a ready pool whose engine generates 150 tokens per second
    And 2 leases are held on the pool
    And a completion of 60 tokens runs under a lease
    When the pool is drained    deadline=10 s
    Then the completion ends whole within 5 s
    And the completion went on after the drain had begun
    When the lease is released
    Then it answers 204
    And the pool shows    active_leases 1    draining true    phase draining

The engine runs until the third of three leases is back and its own slots are idle
    [Tags]    B-DRAIN-004    OC-POOL-3010
    Given a ready pool whose engine shows 1 busy slot
    And 3 leases are held on the pool
    And the pid of the engine is noted
    And the pool is drained    deadline=10 s
    When the lease is released
    And the lease is released
    Then the pool stays in phase draining for 150 ms
    When the lease is released
    Then the pool stays in phase draining for 300 ms
    And the engine is still the same process
    When the engine shows 0 busy slots
    Then the drain ends within 1 s as drained
    And no process of the pool is left within 500 ms

A completion that nobody took a lease for is waited for too
    [Tags]    B-DRAIN-019    OC-POOL-3010
    Given a ready pool whose engine generates 100 tokens per second
    And a completion of 50 tokens runs without a lease
    When a caller waits 10 s for the drain of the pool    deadline=9 s
    Then the answer's outcome is drained
    And it takes at least 200 ms
    And the completion ends whole within 100 ms
    And the completion went on after the drain had begun

A pool without work does not wait for the deadline
    [Tags]    B-DRAIN-008    OC-POOL-3010
    Given a ready pool
    When a caller waits 20 s for the drain of the pool    deadline=20 s
    Then it answers 200
    And the answer's outcome is drained
    And it takes at most 2 s
    And no process of the pool is left within 0 s

Without a deadline of its own a drain waits as long as the config says
    [Tags]    B-DRAIN-018    OC-POOL-3010
    Given a ready pool    drain.deadline_ms=400 ms
    And a lease is held on the pool
    When a caller waits 10 s for the drain of the pool
    Then the answer's outcome is forced
    And it takes at least 400 ms
    And it takes at most 2 s


*** Keywords ***
${callers:\d+} callers take leases on ${pool:the pool|pool [\w-]+} for ${time} each, again and again
    [Documentation]    In the background, until the end.
    Start Lease Load    ${pool}    callers=${callers}    hold=${time}

From now on these callers get nothing but ${code}
    [Documentation]    Counted from when the last answer had come.
    Lease Load Should Get Only    ${code}    at_least=50
