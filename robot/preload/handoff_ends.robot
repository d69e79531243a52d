*** Settings ***
Documentation       The handoff file is gone soon after its engine, and before a stop is over.
Resource            PoolManagerResources/scenario.resource
Test Tags           preload    B-PRELOAD-046    OC-POOL-3001


*** Test Cases ***
It is gone soon after a crash
    Given a ready pool    restart.initial_ms=30 s
    And the handoff file is watched
    When the engine is killed
    Then the pool becomes unready within 500 ms
    And the handoff file was last seen within 500 ms of it

It is gone soon after a failed health check
    Given a ready pool whose engine ignores SIGTERM    restart.initial_ms=30 s    stop.grace_ms=800 ms
    ...    liveness.interval_ms=50 ms    liveness.failures=1
    And the handoff file is watched
    When the engine answers 500 to health checks
    Then the pool becomes unready within 2 s
    And the handoff file was last seen within 500 ms of the pool's becoming unready
    And the pool reaches phase backoff within 5 s

It is gone before a stopped pool is stopped
    Given a ready pool
    And the handoff file is watched
    When the pool is stopped
    Then the handoff file was gone before phase stopped

It is gone before a drained pool is stopped
    Given a ready pool whose engine needs 200 ms to stop
    And a lease is held on the pool for 200 ms
    And the handoff file is watched
    When a caller waits 5 s for the drain of the pool
    Then the answer's outcome is drained
    And the handoff file was gone before phase stopped

It is gone before a failed load's next attempt
    [Tags]    B-PRELOAD-031    OC-POOL-3002
    Given a ready pool
    ...    liveness.interval_ms=50 ms
    ...    liveness.failures=1
    ...    restart.initial_ms=100 ms
    ...    restart.floor_ms=100 ms
    And the handoff file is watched
    When the engine answers 500 to health checks
    Then the pool becomes unready within 2 s
    And the handoff file was gone before phase preflight


*** Keywords ***
The handoff file is watched
    Watch Handoff File

The handoff file was last seen within ${time} of it
    Handoff File Should Be Gone Within    ${time}

The handoff file was last seen within ${time} of the pool's becoming unready
    Handoff File Should Be Gone Within    ${time}    after=pool_unready

The handoff file was gone before phase ${phase}
    Handoff File Should Be Gone Before    ${phase}
