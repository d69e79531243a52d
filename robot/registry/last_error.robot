*** Settings ***
Documentation       The last error of a pool says why it failed, until it is well again.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry    OC-POOL-3003


*** Test Cases ***
A pool that never failed has no last error
    [Tags]    B-REG-012
    Given a ready pool
    And a pool named idle
    Then pool idle shows last_error null
    And the last error of pool pool is none

An exit 0 that nobody asked for is an error with its exit code
    [Tags]    B-REG-012    B-REG-011
    Given a ready pool
    When the engine exits with code 0
    Then the pool is in phase stopped within 2 s
    And the last error of the pool is ENGINE_EXITED
    And the error's details.exit_code is 0
    And the last error of the pool tells what the event told
    And every view of the pool shows the same last_error

The last error is the same in every view
    [Tags]    B-REG-011
    Given a pool whose engine exits with code 3 while loading    restart.initial_ms=30 s
    When the pool is preloaded
    Then the last error of the pool is ENGINE_EXITED within 3 s
    And the error's details.exit_code is 3
    And every view of the pool shows the same last_error
    And every view of the pool shows the same

The last error stays until a newer one replaces it or the pool is Ready
    [Tags]    B-REG-013    B-REG-105
    Given a ready pool whose engine needs 400 ms to load
    ...    restart.initial_ms=100 ms    restart.floor_ms=50 ms
    When the engine exits with code 3
    Then the pool becomes unready within 1 s
    And the last error of the pool is ENGINE_EXITED
    And the pool reaches phase loading within 3 s
    And the pool shows    phase loading    last_error.code ENGINE_EXITED    last_error.details.exit_code 3
    When the engine dies of SIGSEGV
    Then the pool reaches phase backoff within 2 s
    And the pool shows    last_error.code ENGINE_EXITED    last_error.details.signal SIGSEGV
    And the pool becomes ready within 5 s
    And the last error of the pool is none
    And the event stream still tells of both ends


*** Keywords ***
The event stream still tells of both ends
    [Documentation]    The older one and the newer one.
    Get Event Count    the pool    >    0    kind=phase    code=ENGINE_EXITED    details.exit_code=3
    Get Event Count    the pool    >    0    kind=phase    code=ENGINE_EXITED    details.signal=SIGSEGV
