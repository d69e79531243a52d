*** Settings ***
Documentation       A failed load leaves neither pid files nor a handoff file in the state directory.
Resource            PoolManagerResources/scenario.resource
Test Tags           preload    B-PRELOAD-031    OC-POOL-3002
Test Template       A load that fails with ${code}, as its engine ${behaviour}, leaves no files


*** Test Cases ***      CODE                    BEHAVIOUR
Never ready             READINESS_TIMEOUT       never becomes ready
Ended                   ENGINE_EXITED           exits with code 7
Out of memory           OUT_OF_MEMORY           runs out of memory
Offloaded               CPU_SPILLOVER           offloads to the CPU
Not on its GPU          CPU_SPILLOVER           holds no GPU memory


*** Keywords ***
A load that fails with ${code}, as its engine ${behaviour}, leaves no files
    Given a pool    vram_bytes=1GiB    readiness.timeout_ms=500 ms    restart.initial_ms=30 s
    And the engine ${behaviour}
    When the pool is preloaded
    Then the preload fails within 5 s with ${code}
    And Wait Until Expression    status['phase'] in ('backoff', 'failed')    within=5 s
    And no files of the pool are left
