*** Settings ***
Documentation       What a pool needs is promised to it before it starts, and given back when it does not need it any more.
Resource            PoolManagerResources/scenario.resource
Test Tags           memory    OC-POOL-3002


*** Variables ***
&{SHARING}      share_devices=true    load_ms=300 ms    restart.initial_ms=30 s    restart.floor_ms=30 s


*** Test Cases ***
Of two preloads at the same moment that fit only singly one becomes Ready
    [Tags]    B-MEM-006
    Given a GPU with 8 GiB
    And a pool named one that needs 5 GiB on the GPU    preload=true    &{SHARING}
    And a pool named two that needs 5 GiB on the GPU    preload=true    &{SHARING}
    When the config is reloaded, so that both are preloaded at the same moment
    Then one becomes ready, and the other fails with INSUFFICIENT_VRAM naming the first as holder of 5 GiB
    And the GPU shows    memory_reserved_bytes 5 GiB    memory_used_bytes 5 GiB

A reservation counts before the engine has taken its memory
    [Tags]    B-MEM-006
    Given a GPU with 8 GiB
    And a pool named slow whose engine holds no GPU memory and needs 30 s to load    gpu=the GPU    vram_bytes=5 GiB    share_devices=true
    And a pool named next that needs 4 GiB on the GPU    share_devices=true
    When pool slow is preloaded
    Then pool slow reaches phase loading within 3 s
    And the GPU shows    memory_reserved_bytes 5 GiB    memory_used_bytes 0
    When pool next is preloaded
    Then the preload of pool next fails within 1 s with INSUFFICIENT_VRAM
    And the error names pool slow, 4 GiB required and 3 GiB free

The reservation is given back when the load fails
    [Tags]    B-MEM-007
    [Template]    After a load that ${fails} nothing is reserved any more
    exits with code 3 while loading
    offloads to the CPU
    never becomes ready

The reservation is given back when the pool is stopped
    [Tags]    B-MEM-007
    Given a GPU with 8 GiB
    And a ready pool that needs 3 GiB on the GPU
    And the GPU shows memory_reserved_bytes 3 GiB
    When the pool is stopped
    Then the GPU shows    memory_reserved_bytes 0    memory_used_bytes 0

The reservation is given back when the pool is removed
    [Tags]    B-MEM-007
    Given a GPU with 8 GiB
    And a ready pool that needs 3 GiB on the GPU
    And the GPU shows memory_reserved_bytes 3 GiB
    When the pool is removed from the config
    And the config is reloaded
    Then the GPU shows    memory_reserved_bytes 0    memory_used_bytes 0


*** Keywords ***
The config is reloaded, so that both are preloaded at the same moment
    Reload Config
    Answer Should Be    accepted

One becomes ready, and the other fails with ${code:\w+} naming the first as holder of ${size:\S+ \S+}
    ${event} =    Wait For Event    any pool    within=5 s    kind=pool_ready
    ${ready} =    Evaluate    'one' if $event['pool_id'].startswith('one-') else 'two'
    VAR    &{other} =    one=two    two=one
    Wait Until Pool Phase    ${other}[${ready}]    backoff    2 s
    Last Error Should Be    ${other}[${ready}]    ${code}
    ${holder} =    Get Pool Id    ${ready}
    Error Field    details.holder.pool_id    ==    ${holder}
    Error Should Name    pool ${ready}    ${size} required
    Phase Should Never Be    ${other}[${ready}]    starting

After a load that ${fails} nothing is reserved any more
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define GPU    ${name}    8 GiB
    Define Pool    ${name}    ${fails}    gpu=${name}    vram_bytes=3 GiB    readiness.timeout_ms=400 ms    restart.initial_ms=30 s
    ...    restart.floor_ms=30 s
    Preload Pool    ${name}
    Pool Should Become    ${name}    in phase loading    within=3 s
    Get Device Field    ${name}    memory_reserved_bytes    ==    3 GiB
    Wait For Event    ${name}    within=3 s    kind=preload    to=failed
    Get Device Field    ${name}    memory_reserved_bytes    ==    0    within=1 s
