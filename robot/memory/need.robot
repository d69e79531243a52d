*** Settings ***
Documentation       How much memory an engine needs is read from its model's own headers, never guessed from the file's size.
Library             Collections
Resource            PoolManagerResources/scenario.resource
Test Tags           memory    OC-POOL-3002


*** Test Cases ***
A GGUF model needs its tensors and a KV cache for context times slots, and not its input embedding
    [Documentation]    The output layer of 16 KiB is a weight, too.
    [Tags]    B-MEM-004
    Given a GPU with 80 GiB
    And a GGUF model plain.gguf with 4 GiB of weights and 64 KiB of KV cache per token
    And a GGUF model wide.gguf with 4 GiB of weights and 64 KiB of KV cache per token    embedding=2 GiB
    And these pools of llama-server
    ...    name | model | context | slots
    ...    plain | models/plain.gguf | 4096 | 4
    ...    wide | models/wide.gguf | 4096 | 4
    ...    longer | models/plain.gguf | 8192 | 4
    ...    more | models/plain.gguf | 4096 | 8
    ...    both | models/plain.gguf | 8192 | 8
    When the plan is made
    Then the plan says
    ...    pool | weights_bytes | kv_bytes | basis
    ...    plain | 4294983680 | 1 GiB | gguf
    ...    wide | 4294983680 | 1 GiB | gguf
    ...    longer | 4294983680 | 2 GiB | gguf
    ...    more | 4294983680 | 2 GiB | gguf
    ...    both | 4294983680 | 4 GiB | gguf
    And what is needed beside weights and KV cache is less than 256 MiB

What is required is what the plan says
    [Tags]    B-MEM-004    B-MEM-013
    Given a GPU with 8 GiB of which 3 GiB are free
    And a GGUF model plain.gguf with 4 GiB of weights and 64 KiB of KV cache per token
    And a pool of kind llamacpp    model=models/plain.gguf    gpu=the GPU    context=2048    slots=2
    When the pool is preloaded
    Then the preload fails within 1 s with INSUFFICIENT_VRAM
    And the error names the device, 3 GiB free
    And the required bytes of status, error and plan are the same

A refusal names the largest context and the most slots that would fit, and they do
    [Tags]    B-MEM-001    B-MEM-004
    Given a GPU with 8 GiB
    And a GGUF model plain.gguf with 4 GiB of weights and 64 KiB of KV cache per token
    And a pool of kind llamacpp whose engine holds 4 GiB of GPU memory    model=models/plain.gguf    gpu=the GPU
    ...    context=32768    slots=4
    When the pool is preloaded
    Then the preload fails within 1 s with INSUFFICIENT_VRAM
    And the error's hint names its largest context and that 1 slot would fit
    When the context is the largest one named
    And the config is reloaded
    Then the pool becomes ready within 5 s

A safetensors model needs what its headers say, over all its shards
    [Tags]    B-MEM-005
    Given a GPU with 8 GiB of which 3 GiB are free
    And a model folder sharded with safetensors files of 1 GiB, 2 GiB and 1.5 GiB
    And a pool of kind vllm    model=models/sharded    gpu=the GPU    context=256    slots=1
    When the pool is preloaded
    Then the preload fails within 1 s with INSUFFICIENT_VRAM
    And the required bytes of status, error and plan are the same
    And the plan says
    ...    pool | weights_bytes | basis
    ...    the pool | 4.5 GiB | safetensors


*** Keywords ***
These pools of llama-server
    [Documentation]    A table in ``|`` notation. They share the GPU and are never started.
    [Arguments]    @{rows}
    VAR    @{table} =    ${rows}[0] | engine | binary | gpu | share_devices
    FOR    ${row}    IN    @{rows}[1:]
        Append To List    ${table}    ${row} | llamacpp | /bin/true | the GPU | true
    END
    Define Pools    @{table}

What is needed beside weights and KV cache is less than ${size:\S+ \S+}
    FOR    ${pool}    IN    plain    wide    longer    more    both
        ${need} =    Get Planned    ${pool}    need_bytes
        ${weights} =    Get Planned    ${pool}    weights_bytes
        ${kv} =    Get Planned    ${pool}    kv_bytes
        Get Planned    ${pool}    compute_bytes    ==    ${{ $need - $weights - $kv }}
        Get Planned    ${pool}    compute_bytes    <    ${size}
        Get Planned    ${pool}    compute_bytes    >    ${0}
    END

The required bytes of status, error and plan are the same
    ${error} =    Last Error Should Be    the pool    INSUFFICIENT_VRAM
    Get Pool Field    the pool    vram.required_bytes    ==    ${error}[details][required_bytes]
    Make Plan
    Answer Should Be    1
    Get Planned    the pool    need_bytes    ==    ${error}[details][required_bytes]

The error's hint names its largest context and that ${count:\d} slot would fit
    ${context} =    Error Field    details.largest_context
    Error Field    hint    contains    context = ${context} or slots = ${count} would fit
    VAR    ${LARGEST} =    ${context}    scope=TEST

The context is the largest one named
    Change Pool    the pool    context=${LARGEST}
