*** Settings ***
Documentation       An engine is on the GPUs of its mask and on no other, while it loads and for as long as it lives.
Resource            PoolManagerResources/scenario.resource
Test Tags           devices    OC-POOL-3020


*** Test Cases ***
A loaded engine is seen on exactly the GPUs of its mask
    [Tags]    B-DEVICE-010    B-DEVICE-015
    Given a GPU named first with 8 GiB
    And a GPU named second with 8 GiB
    And a GPU named third with 8 GiB
    And a ready pool on GPUs third and first    tensor_split=[1, 1]    vram_bytes=4 GiB    simulated.child=session
    ...    simulated.child_vram_bytes=256 MiB
    Then GPU third is held by    the engine with 2 GiB    a child with 256 MiB
    And GPU first is held by    the engine with 2 GiB
    And GPU second is held by nobody

An engine that uses another GPU while it loads is stopped at once
    [Tags]    B-DEVICE-011
    Given a GPU named own with 8 GiB
    And a GPU named other with 8 GiB
    And a pool whose engine uses GPU other outside its mask and needs 30 s to load    gpu=own
    When the pool is preloaded
    Then the preload fails within 2 s with CROSS_MASK_SPILLOVER
    And the error names GPU other, 1 GiB
    And the error names the engine's own pid
    And the pool reaches phase failed within 3 s
    And the pool goes through preflight, starting, loading, stopping, failed
    And no process of the pool is left within 1 s

A Ready engine that begins to use another GPU is stopped at once
    [Tags]    B-DEVICE-011
    Given a GPU named own with 8 GiB
    And a GPU named other with 8 GiB
    And a ready pool    gpu=own
    When the engine uses GPU other outside its mask
    Then the pool becomes unready within 1 s
    And the pool reaches phase failed within 3 s
    And the last error of the pool is CROSS_MASK_SPILLOVER
    And the error names GPU other, 1 GiB
    And the error names the engine's own pid
    And no process of the pool is left within 1 s

A descendant that uses another GPU counts as the engine
    [Tags]    B-DEVICE-011
    [Template]    An engine that ${starts}, which takes memory of another GPU ${when}, is stopped
    starts a child                       while it loads
    starts an orphan                     while it loads
    starts a child in its own session    once it is ready
    starts an orphan                     once it is ready

Another program's memory is nobody's spillover
    [Tags]    B-DEVICE-016    B-DEVICE-015
    Given a GPU named own with 8 GiB
    And a GPU named other with 8 GiB
    And another program holds 1 GiB of GPU other
    And another program holds 1 GiB of GPU own
    And a ready pool    gpu=own    vram_bytes=1 GiB    liveness.interval_ms=50 ms
    When another program holds 2 GiB of GPU other
    Then the pool stays ready for 300 ms
    And GPU other is held by    another program with 1 GiB    another program with 2 GiB
    And GPU own is held by    the engine with 1 GiB    another program with 1 GiB
    When the other program ends
    Then the pool stays ready for 200 ms
    And the pool goes through preflight, starting, loading, ready

The devices show memory, health, residency and holders
    [Tags]    B-DEVICE-015    OC-POOL-3012
    Given a GPU named card with 8 GiB
    And another program holds 1 GiB of GPU card
    And a ready pool    gpu=card    vram_bytes=2 GiB    simulated.vram_bytes=2.5 GiB
    And what the host says of GPU card is known
    Then GPU card shows    uuid ${UUID}    index ${INDEX}    name ${NAME}
    ...    memory_total_bytes 8 GiB    memory_free_bytes 4.5 GiB    memory_used_bytes 3.5 GiB    memory_reserved_bytes 2 GiB
    ...    health ok    residency process
    And GPU card is held by    the engine with 2.5 GiB    another program with 1 GiB


*** Keywords ***
The error names the engine's own pid
    ${loading} =    Get Events    the pool    kind=phase    to=loading
    Error Field    details.pid    ==    ${loading}[-1][details][pid]

An engine that ${starts}, which takes memory of another GPU ${when}, is stopped
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define GPU    ${name}-other    8 GiB
    Define GPU    ${name}    8 GiB
    Define Pool    ${name}    ${starts}    gpu=${name}    load_ms=${{ '30 s' if 'loads' in $when else '0 s' }}
    Preload Pool    ${name}
    IF    $when == 'once it is ready'    Wait Until Pool Is Ready    ${name}    5 s
    ${pid} =    Let Child Hold GPU Memory    512 MiB    ${name}-other    ${name}
    It Fails For Process ${pid} And Is Gone    ${name}

It fails for process ${pid} and is gone
    [Arguments]    ${name}
    Pool Should Become    ${name}    in phase stopping    within=2 s
    Pool Should Become    ${name}    in phase failed    within=3 s
    Last Error Should Be    ${name}    CROSS_MASK_SPILLOVER
    Error Should Name    GPU ${name}-other    512 MiB
    Error Field    details.pid    ==    ${pid}
    Engine Process Count    ${name}    ==    0

What the host says of GPU ${gpu:\w+} is known
    [Documentation]    From the file that describes the card.
    ${uuid} =    Get GPU Uuid    ${gpu}
    ${folder} =    Get Daemon    simulated_dir
    ${card} =    Evaluate    json.loads(pathlib.Path($folder, 'gpus', $uuid + '.json').read_text())
    VAR    ${INDEX} =    ${card}[index]    scope=TEST
    VAR    ${NAME} =    ${card}[name]    scope=TEST
    VAR    ${UUID} =    ${uuid}    scope=TEST
