*** Settings ***
Documentation       What is left after a drain, and how long that lasts.
Resource            PoolManagerResources/scenario.resource
Test Tags           drain


*** Test Cases ***
An idle engine is stopped by its graceful way and leaves no files
    [Tags]    B-DRAIN-006    OC-POOL-3010
    Given a ready pool whose engine needs 200 ms to stop
    And a lease is held on the pool
    And the handoff file of the engine exists
    And the pid file of the engine exists
    And the pool is drained    deadline=10 s
    When the lease is released
    Then the drain ends within 2 s as drained
    And the engine was given its 200 ms to end by itself
    And no process of the pool is left within 0 s
    And no files of the pool are left

A drained pool is stopped and stays so
    [Tags]    B-DRAIN-007    OC-POOL-3001    OC-POOL-3010
    Given a ready pool    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    When a caller waits 10 s for the drain of the pool
    Then the pool shows    desired stopped    live false    ready false    phase stopped    draining false
    And the pool stays in phase stopped for 400 ms
    And no event of kind restart_scheduled comes within 0 s
    And the pool has 0 engine processes
    And every surface shows the pool not ready

Draining a pool that is stopped succeeds at once
    [Tags]    B-DRAIN-012
    Given a ready pool
    And the pool is stopped
    When a caller waits 5 s for the drain of the pool    deadline=5 s
    Then it answers 200
    And the answer's outcome is drained
    And the answer's leases_forced is 0
    And Answer Field    waited_ms    <=    50
    And the pool shows    desired stopped    phase stopped

Draining a pool that nobody has ever loaded succeeds at once
    [Tags]    B-DRAIN-012
    Given a pool
    When a caller waits 5 s for the drain of the pool    deadline=5 s
    Then it answers 200
    And the answer's outcome is drained
    And Answer Field    waited_ms    <=    50
    And the pool shows    desired stopped    phase stopped

A drained pool comes back by a preload
    [Tags]    B-DRAIN-015    OC-POOL-3010
    Given a ready pool
    And a caller waits 10 s for the drain of the pool
    When a caller waits 10 s for the preload of the pool
    Then it answers 200
    And the pool shows    desired running    ready true    phase ready    draining false
    When a caller asks for a lease on the pool
    Then it answers 201

A drain can be cancelled while it waits
    [Tags]    B-DRAIN-017    OC-POOL-3010
    Given a ready pool
    And a lease is held on the pool
    And the pid of the engine is noted
    And the pool is drained    deadline=10 s
    When the drain of the pool is cancelled
    Then it answers 200
    And the answer's draining is false
    And the answer's desired is running
    And the pool becomes ready within 500 ms
    And the engine is still the same process
    When the lease is renewed
    Then it answers 200
    When a caller asks for a lease on the pool
    Then it answers 201
    And the pool shows    active_leases 2    draining false    phase ready

A drain that has begun to stop the engine cannot be cancelled
    [Tags]    B-DRAIN-017    OC-POOL-3010
    Given a ready pool whose engine needs 400 ms to stop
    And the pool is drained    deadline=10 s
    And the pool is in phase stopping
    When the drain of the pool is cancelled
    Then it is refused with 409 CONFLICT
    And the pool is in phase stopped within 2 s


*** Keywords ***
The engine was given its ${time} to end by itself
    [Documentation]    It was sent SIGTERM, and no SIGKILL after that.
    ${events} =    Get Events    the pool    kind=phase    from=stopping    to=stopped
    Should Not Be True    ${events}[-1][details][forced]
    Time Between Phases    stopping    stopped    >=    ${time}
