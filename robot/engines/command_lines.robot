*** Settings ***
Documentation       What each engine kind is told, so that all of the model lies on the GPUs of the mask, as the process table shows.
Resource            PoolManagerResources/scenario.resource
Test Tags           engines


*** Test Cases ***
A llama server keeps every layer on the GPU
    [Tags]    B-ENGINE-001    OC-POOL-3012
    Given a ready pool of kind llamacpp    args=["--threads", "2"]
    Then the command line of the engine has    -ngl    all
    And the command line of the engine has    --fit    off
    And the command line of the engine has    --threads    2
    And the command line of the engine does not name    --no-kv-offload    -nkvo    --cpu-moe    -cmoe    --n-cpu-moe
    ...    -ncmoe    -ot    --override-tensor    --no-op-offload    -dev    --device
    And the command line of the engine names tiny.gguf

A llama server is told the split in the order of the mask
    [Tags]    B-ENGINE-007    OC-POOL-3021
    Given a GPU named big with 24 GiB
    And a GPU named small with 8 GiB
    When the pool of kind llamacpp on these GPUs is ready    gpu=big+small    tensor_split=[3, 1]
    Then the command line of the engine has    -ts    0.75,0.25
    And the command line of the engine has    -sm    layer
    And the engine sees the GPUs    big    small

A llama server is told the split in the order of the mask, the other way round
    [Tags]    B-ENGINE-007    OC-POOL-3021
    Given a GPU named big with 24 GiB
    And a GPU named small with 8 GiB
    When the pool of kind llamacpp on these GPUs is ready    gpu=small+big    tensor_split=[1, 4]    args=["-sm", "row"]
    Then the command line of the engine has    -ts    0.2,0.8
    And the command line of the engine has    -sm    row
    And the command line of the engine does not name    layer
    And the engine sees the GPUs    small    big

A vLLM server divides the model over all GPUs of the mask and offloads nothing
    [Tags]    B-ENGINE-002    OC-POOL-3012
    Given a ready pool of kind vllm    gpus=2    tensor_split=[1, 1]
    Then the command line of the engine has    --tensor-parallel-size    2
    And the command line of the engine has    --cpu-offload-gb    0
    And the command line of the engine has    --swap-space    0

A vLLM server on one GPU is not divided
    [Tags]    B-ENGINE-002    OC-POOL-3012
    Given a ready pool of kind vllm
    Then the command line of the engine has    --tensor-parallel-size    1

A TGI server has a shard for each GPU of the mask and keeps CUDA
    [Tags]    B-ENGINE-003    OC-POOL-3012
    Given a ready pool of kind tgi    gpus=2    tensor_split=[1, 1]
    Then the command line of the engine has    --num-shard    2
    And the command line of the engine does not name    --disable-cuda    --no-cuda    --disable-custom-kernels    --cpu
    And the engine's environment turns no GPU off

A TGI server on one GPU has one shard
    [Tags]    B-ENGINE-003    OC-POOL-3012
    Given a ready pool of kind tgi
    Then the command line of the engine has    --num-shard    1

Triton is started with its repository
    [Tags]    B-ENGINE-004    OC-POOL-3012
    Given a ready pool of kind triton
    Then the engine is told its repository tiny-repository

Triton is refused a model that asks for the CPU
    [Tags]    B-ENGINE-004    OC-POOL-3012
    Given a model repository on-the-cpu with instances of KIND_CPU
    And a pool of kind triton    model=models/on-the-cpu
    When the pool is preloaded
    Then the preload fails within 1 s with CPU_SPILLOVER
    And the error names KIND_CPU, encoder and config.pbtxt
    And no engine process was started
    And the pool is in phase failed

A llama server is told the context of all slots together
    [Tags]    B-ENGINE-012
    Given a ready pool of kind llamacpp    slots=3    context=512
    Then the command line of the engine has    -c    1536
    And each of its 3 slots has a context of 512

A llama server has the slots that the config says
    [Tags]    B-ENGINE-010
    Given a ready pool of kind llamacpp    slots=3
    Then the command line of the engine has    -np    3
    And the pool shows    slots_total 3    slots_free 3
    And the handoff file's slots is 3
    And each of its 3 slots has a context of 4096
    When 5 callers ask for a lease on the pool at once
    Then the callers get 3 granted and 2 NO_FREE_SLOT

Where the engine has fewer slots than it was told, its own number counts
    [Tags]    B-ENGINE-010
    Given a pool of kind llamacpp whose engine claims 2 slots    slots=3
    When a caller waits 10 s for the preload of the pool
    Then the pool shows    slots_total 2    slots_free 2
    When 5 callers ask for a lease on the pool at once
    Then the callers get 2 granted and 3 NO_FREE_SLOT


*** Keywords ***
The pool of kind ${kind:\w+} on these GPUs is ready
    [Documentation]    Settings in further cells.
    [Arguments]    &{settings}
    A Ready Pool Of Kind ${kind}    &{settings}

The engine's environment turns no GPU off
    [Documentation]    TGI reads its options from there, too.
    ${environment} =    Get Engine Process    environ
    Should Be True    $environment.get('USE_CUDA', '1') == '1' and 'DISABLE_CUDA' not in $environment
    Should Not Be Empty    ${environment}[CUDA_VISIBLE_DEVICES]

The engine is told its repository ${name}
    [Documentation]    In Triton's own notation.
    Get Engine Process    cmdline    validate
    ...    any(word.startswith('--model-repository=/') and word.endswith('/${name}') for word in value)

Each of its ${count:\d+} slots has a context of ${context:\d+}
    [Documentation]    As the engine itself says.
    ${slots} =    Ask Engine    /slots
    ${contexts} =    Evaluate    [slot['n_ctx'] for slot in $slots]
    Should Be Equal    ${contexts}    ${{ [${context}] * ${count} }}
