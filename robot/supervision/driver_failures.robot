*** Settings ***
Documentation       Failures of the driver are counted apart, and open the circuit by themselves.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision    OC-POOL-3010    OC-POOL-3011


*** Variables ***
&{AT_ONCE}      restart.initial_ms=20 ms    restart.floor_ms=10 ms    restart.factor=1    restart.driver_factor=1
...             drain.deadline_ms=0    stop.grace_ms=200 ms


*** Test Cases ***
Five driver failures open the breaker of the kind driver, and the general count stays as it is
    [Tags]    B-SUPER-040
    Given a ready pool    breaker.failures=3    breaker.open_ms=60 s    &{AT_ONCE}
    When the engine is killed
    Then the pool becomes ready within 5 s
    When 5 CUDA errors come, each once the engine is ready
    Then the pool is in phase circuit_open within 5 s
    And engine r0 shows    breaker.kind driver    breaker.state open    breaker.driver_failures 5    breaker.failures 1
    And the event that opened it says driver

Ordinary crashes leave the driver's count as it is
    [Tags]    B-SUPER-040
    Given a ready pool    breaker.failures=3    breaker.driver_failures=2    breaker.open_ms=60 s    &{AT_ONCE}
    When 1 CUDA error comes, each once the engine is ready
    Then the pool becomes ready within 5 s
    And for its next 5 starts the engine exits with code 3 while loading
    When the engine is killed
    Then the pool is in phase circuit_open within 5 s
    And engine r0 shows    breaker.kind general    breaker.failures 3    breaker.driver_failures 1


*** Keywords ***
${count:\d+} CUDA error${s:s?} come${s2:s?}, each once the engine is ready
    FOR    ${number}    IN RANGE    ${count}
        IF    ${number} > 0    Pool Should Become    the pool    ready    within=5 s
        Engine Does    reports a CUDA error
        Pool Should Become    the pool    unready    within=5 s
    END

The event that opened it says driver
    ${changes} =    Get Breaker Events    r0    since_act=False
    Should Be Equal    ${changes}[-1][details][breaker_kind]    driver
    Should Contain    ${changes}[-1][reason]    5 consecutive driver failures
