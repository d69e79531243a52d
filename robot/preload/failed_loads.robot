*** Settings ***
Documentation       A load that fails says why, leaves nothing behind, and is over before the next attempt begins.
Resource            PoolManagerResources/scenario.resource
Test Tags           preload    OC-POOL-3002


*** Test Cases ***
An engine that is never ready is stopped with all its descendants before the next attempt
    [Tags]    B-PRELOAD-030    B-ERROR-022
    Given a pool whose engine never becomes ready and starts a child in its own session and ignores SIGTERM
    ...    readiness.timeout_ms=500 ms    stop.grace_ms=300 ms    restart.initial_ms=100 ms    restart.floor_ms=100 ms
    When the pool is preloaded
    And the 2 processes of the first attempt are watched
    Then all of them had ended when the next attempt began
    And the pool went through preflight, starting, loading, stopping, backoff, preflight

An engine that ends by itself takes its descendants along before the next attempt
    [Tags]    B-ERROR-022
    Given a pool whose engine starts a child in its own session and needs 60 s to load
    ...    restart.initial_ms=100 ms    restart.floor_ms=100 ms
    When the pool is preloaded
    And the 2 processes of the first attempt are watched
    And the engine is killed
    Then all of them had ended when the next attempt began

The error of a failed load carries the engine's last lines
    [Tags]    B-PRELOAD-032    OC-POOL-3003
    Given a pool whose engine logs "cannot open the moon" to stderr and exits with code 3 after 100 ms
    ...    restart.initial_ms=30 s
    When the pool is preloaded
    Then the preload fails within 5 s with ENGINE_EXITED
    And the last error of the pool is ENGINE_EXITED
    And the last lines in the error's details have "cannot open the moon"

The error of a load that took too long carries the engine's last lines
    [Tags]    B-PRELOAD-032    OC-POOL-3003
    Given a pool whose engine never becomes ready and logs "still reading layer 7"
    ...    readiness.timeout_ms=400 ms    restart.initial_ms=30 s
    When the pool is preloaded
    Then the preload fails within 5 s with READINESS_TIMEOUT
    And the last error of the pool is READINESS_TIMEOUT
    And the last lines in the error's details have "still reading layer 7"

A pool whose load failed is not ready until a later attempt has passed its own check
    [Tags]    B-PRELOAD-034    OC-POOL-3001
    Given a pool whose engine needs 150 ms to load    readiness.timeout_ms=700 ms    restart.initial_ms=100 ms
    ...    restart.floor_ms=100 ms
    And for its next 1 start the engine never becomes ready
    And all surfaces are watched
    When the pool is preloaded
    Then the pool becomes ready within 15 s
    And no surface reports the pool ready before its engine answered
    And the pool went through preflight, starting, loading, stopping, backoff, preflight, starting, loading, ready
    And Every Ready Should Be Earned

A pool whose engine answers but is not on its GPU is never ready on any surface
    [Tags]    B-PRELOAD-034    B-PRELOAD-021    OC-POOL-3001
    Given a pool whose engine holds no GPU memory    needs=2 GiB    simulated.vram_bytes=0
    And all surfaces are watched
    When the pool is preloaded
    Then the preload fails within 5 s with CPU_SPILLOVER
    And the pool is in phase failed within 5 s
    And the engine had answered 200
    And no surface ever reported the pool ready
    And the pool is never in phase ready


*** Keywords ***
The ${count} processes of the first attempt are watched
    Watch Processes    ${count}

All of them had ended when the next attempt began
    Watched Processes Should Have Ended Before    preflight

The pool went through ${phases}
    Phases Should Begin With    the pool    ${phases}

The last lines in the error's details have "${text}"
    ${lines} =    Error Field    details.log_tail
    Should Contain    ${{ '\n'.join($lines) }}    ${text}

The engine had answered 200
    Get First Good Answer
