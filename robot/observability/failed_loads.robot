*** Settings ***
Documentation    A load that fails is one failure, counted under the code that says why.

Resource         PoolManagerResources/scenario.resource

Test Tags        observability    OC-POOL-3030    B-METRICS-002
Test Template    A load that fails is counted under its reason


*** Test Cases ***                  REASON               WHAT THE ENGINE DOES, OR THE CONFIG SAYS
An engine that ends                 ENGINE_EXITED        exits with code 3 while loading
An engine without GPU memory        OUT_OF_MEMORY        runs out of memory while loading
A fatal CUDA line                   CUDA_ERROR           reports a CUDA error while loading
Half of the layers on the CPU       CPU_SPILLOVER        offloads to the CPU
A load without end                  READINESS_TIMEOUT    never becomes ready    readiness.timeout_ms=150 ms
A model that is not there           MODEL_NOT_FOUND      model=models/nowhere.gguf
A program that is not there         ENGINE_NOT_FOUND     binary=/nowhere/engine
A need that is more than there is   INSUFFICIENT_VRAM    vram_bytes=9GiB


*** Keywords ***
A load that fails is counted under its reason
    [Arguments]    ${reason}    @{behaviour}    &{settings}
    Define Pool    pool    @{behaviour}    restart.initial_ms=30 s    &{settings}
    When the pool is preloaded
    Then an event of kind preload comes within 5 s    to=failed    code=${reason}
    And the metric preload_failure_total of the pool is 1    replica_id=r0    engine=simulated    reason=${reason}
    And the metric preload_failure_total of the pool is 1
    And the metric preload_success_total of the pool is 0
