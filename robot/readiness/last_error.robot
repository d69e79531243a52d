*** Settings ***
Documentation       Why a pool is not Ready stands on every surface, in the same words, for as long as it matters.
Resource            PoolManagerResources/scenario.resource
Test Tags           readiness    OC-POOL-3003


*** Test Cases ***
Every surface tells a crash in the same words
    [Tags]    B-RDY-003
    Given a ready pool    restart.initial_ms=30 s
    When the engine is killed by SIGSEGV
    Then the pool reaches phase backoff within 2 s
    And every surface shows the same code, text, time and hint

Every surface tells a load that took too long in the same words
    [Tags]    B-RDY-003
    Given a pool whose engine never becomes ready    readiness.timeout_ms=300 ms    restart.initial_ms=30 s
    When the pool is preloaded
    Then the pool reaches phase backoff within 5 s
    And every surface shows the same code, text, time and hint

Every surface tells a failed preflight in the same words
    [Tags]    B-RDY-003
    Given a GPU with 8 GiB of which 2 GiB are free
    And a pool that needs 7 GiB on it    restart.initial_ms=30 s
    When the pool is preloaded
    Then the preload fails within 2 s with INSUFFICIENT_VRAM
    And every surface shows the same code, text, time and hint

Every surface tells a pool that waits for its operator in the same words
    [Tags]    B-RDY-003
    Given a pool    model=models/nowhere.gguf
    When the pool is preloaded
    Then the preload fails within 2 s with MODEL_NOT_FOUND
    And every surface shows the same code, text, time and hint

The cause stays readable while the pool backs off and while the next attempt loads
    [Tags]    B-RDY-004
    Given a pool whose engine needs 400 ms to load    restart.initial_ms=300 ms    restart.floor_ms=300 ms
    And for its next 1 start the engine exits with code 9 while loading
    When the pool is preloaded
    Then the pool reaches phase backoff within 5 s
    And the last error of the pool is ENGINE_EXITED
    And its time is that of the failure's event
    And the pool reaches phase loading within 5 s
    And the pool is in phase loading
    And the last error of the pool is ENGINE_EXITED
    And its time is that of the failure's event
    And the error's details.exit_code is 9

A readiness timeout is logged with what was waited for
    [Tags]    B-ERROR-020    B-ERROR-021    OC-POOL-3030
    Given a pool whose engine answers 418 to health checks    readiness.timeout_ms=400 ms    restart.initial_ms=30 s
    When the pool is preloaded
    Then the preload fails within 5 s with READINESS_TIMEOUT
    And the daemon logs    pool=the pool    code=READINESS_TIMEOUT    event=phase    last_answer=HTTP 418
    And it logs 400 ms to 1400 ms as the waited time
    And the last error of the pool is READINESS_TIMEOUT

A failed liveness check is the last error
    [Tags]    B-ERROR-021
    Given a ready pool    liveness.interval_ms=50 ms    restart.initial_ms=30 s
    When the engine answers 500 to health checks
    Then the pool becomes unready within 5 s
    And the last error of the pool is HEALTH_CHECK_FAILED


*** Keywords ***
Every surface shows the same code, text, time and hint
    Error Should Be The Same Everywhere

Its time is that of the failure's event
    ${events} =    Get Events    the pool    kind=phase    code=ENGINE_EXITED
    Error Field    at    ==    ${events}[0][at]

It logs ${least} to ${most} as the waited time
    ${records} =    Get Daemon Log    pool=the pool    code=READINESS_TIMEOUT    event=phase
    VAR    ${waited} =    ${records}[0][waited_ms]
    Should Be True    ${{ $waited >= robot.utils.timestr_to_secs($least) * 1000 }}    ${waited}
    Should Be True    ${{ $waited <= robot.utils.timestr_to_secs($most) * 1000 }}    ${waited}
