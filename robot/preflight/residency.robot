*** Settings ***
Documentation    An engine that answers is not yet one that runs on its GPUs: that has to be seen before it is Ready.

Resource         PoolManagerResources/scenario.resource

Test Tags        preflight    OC-POOL-3012


*** Variables ***
${LAYERS_ON_CPU}    load_tensors: offloaded 15/31 layers to GPU
${KV_ON_CPU}        llama_kv_cache:${SPACE * 8}CPU KV buffer size =${SPACE * 3}384.00 MiB
&{AT_ONCE}          restart.initial_ms=50 ms    restart.floor_ms=50 ms    restart.max_ms=100 ms


*** Test Cases ***
An engine that holds no GPU memory is stopped before it was ever Ready
    [Tags]    B-PREFLIGHT-020
    Given a pool whose engine holds no GPU memory and needs 200 ms to load    vram_bytes=2 GiB
    And all surfaces are watched
    When the pool is preloaded
    Then the preload fails within 3 s with CPU_SPILLOVER
    And the error names the pool's GPU
    And the engine had answered its readiness check
    And the pool reaches phase failed within 5 s
    And no surface ever reported the pool ready
    And the pool is never in phase ready
    And no process of the pool is left within 1 s

An engine that leaves one device of its mask empty is stopped before it was ever Ready
    [Tags]    B-PREFLIGHT-020
    Given a GPU named first with 8 GiB
    And a GPU named second with 8 GiB
    And a pool that holds memory on GPU first of GPUs first and second only
    And all surfaces are watched
    When the pool is preloaded
    Then the preload fails within 3 s with CPU_SPILLOVER
    And the error names GPU second
    And the engine had answered its readiness check
    And the pool reaches phase failed within 5 s
    And no surface ever reported the pool ready
    And the pool is never in phase ready
    And no process of the pool is left within 1 s

An engine whose log says that it offloads to the CPU is stopped
    [Tags]    B-PREFLIGHT-021
    [Template]    An engine that logs "${line}" fails with CPU_SPILLOVER and is stopped
    ${LAYERS_ON_CPU}
    ${KV_ON_CPU}

An engine that says so once it is Ready is stopped, too
    [Tags]    B-PREFLIGHT-021
    Given a ready pool    &{AT_ONCE}
    Then the metric spillover_total of the pool is 0    reason=CPU_SPILLOVER
    When the engine logs "${KV_ON_CPU}"
    Then the pool becomes unready within 1 s
    And the pool reaches phase failed within 3 s
    And the last error of the pool is CPU_SPILLOVER
    And no process of the pool is left within 1 s
    And the metric spillover_total of the pool is 1    replica_id=r0    reason=CPU_SPILLOVER

What an earlier run has logged counts for nothing
    [Tags]    B-PREFLIGHT-021
    Given a pool    &{AT_ONCE}
    And for its next 1 start the engine logs "${LAYERS_ON_CPU}"
    When the pool is preloaded
    Then the pool reaches phase failed within 5 s
    And the last error of the pool is CPU_SPILLOVER
    When the pool is preloaded
    Then the pool becomes ready within 5 s
    And the log of the engine has "${LAYERS_ON_CPU}" within 0 s
    And the pool stays ready for 200 ms

A llama-server at full offload keeps its input embedding on the CPU and is healthy
    [Tags]    B-PREFLIGHT-023
    ${binary} =    Create Engine Program    vram_bytes=1 GiB
    Given a model file for llama-server
    And a pool    engine=llamacpp    binary=${binary}    model=models/tiny.gguf    vram_bytes=1 GiB
    When the pool is preloaded
    Then the pool becomes ready within 5 s
    And the log of the engine has "offloaded 31/31 layers to GPU" within 0 s
    And the log of the engine has "CPU_Mapped model buffer size" within 0 s
    And the pool stays ready for 300 ms
    And the pool shows    phase ready    last_error null


*** Keywords ***
The error names the pool's GPU
    Error Should Name    the device

The engine had answered its readiness check
    Get First Good Answer

A pool that holds memory on GPU ${first} of GPUs ${first_again} and ${second} only
    ${uuid} =    Get GPU Uuid    ${first}
    Define Pool    pool    gpu=${first}+${second}    tensor_split=[1, 1]    vram_bytes=4 GiB
    ...    simulated.vram_bytes=${0}    simulated.wrong_device=${uuid}    simulated.wrong_device_bytes=4 GiB

An engine that logs "${line}" fails with CPU_SPILLOVER and is stopped
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define Pool    ${name}    logs "${line}" while loading    load_ms=30 s    &{AT_ONCE}
    Preload Pool    ${name}
    Load Should Fail    ${name}    CPU_SPILLOVER    within=3 s
    Last Error Should Be    ${name}    CPU_SPILLOVER
    Error Field    details.line    ==    ${line}
    Pool Should Become    ${name}    in phase failed    within=5 s
    Engine Process Count    ${name}    ==    0
    Phase Should Never Be    ${name}    ready

A model file for llama-server
    Create GGUF Model    tiny.gguf
