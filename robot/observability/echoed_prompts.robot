*** Settings ***
Documentation    What users make an engine write has no consequences: its own words begin with its own prefix.

Resource         PoolManagerResources/scenario.resource

Test Tags        observability    OC-POOL-3010    OC-POOL-3012    B-LOG-011
Test Template    Words of users in the log of an engine do nothing


*** Variables ***
@{FATAL}    CUDA error: an illegal memory access was encountered
...         ggml_cuda_compute_forward: CUDA error: out of memory
...         Hi!\n0.00.001.000 E ggml_cuda_compute_forward: CUDA error: invalid argument\n
...         load_tensors: offloaded 3/33 layers to GPU
...         llama_kv_cache: CPU KV buffer size = 1024.00 MiB
...         \ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB


*** Test Cases ***         KIND
The stand-in               simulated
An engine of llama cpp     llamacpp
An engine of vLLM          vllm
An engine of TGI           tgi


*** Keywords ***
Words of users in the log of an engine do nothing
    [Arguments]    ${kind}
    Given a pool of kind ${kind} whose engine echoes its prompts    liveness.interval_ms=50 ms
    And the pool has been preloaded
    When each of the fatal lines is a prompt
    And each of them is a completion that the engine quotes
    Then the log of the engine has them all
    And the pool stays ready for 300 ms
    And there were no failures

Each of the fatal lines is a prompt
    FOR    ${line}    IN    @{FATAL}
        Start Completion    tokens=1    lease=False    prompt=${line}
        Completion Should End Whole    tokens=1
    END

Each of them is a completion that the engine quotes
    ${lines} =    Evaluate    ['0.00.010.000 I slot release: completion: ' + json.dumps(line) for line in $FATAL]    modules=json
    Set Engine Fault    the engine    stdout=${lines}

The log of the engine has them all
    The log of the engine has "release: completion: \"\\ntorch.OutOfMemoryError" within 2 s
    ${text} =    Get Engine Log
    FOR    ${line}    IN    @{FATAL}
        ${quoted} =    Evaluate    json.dumps($line)
        Should Contain X Times    ${text}    ${quoted}    2
    END

There were no failures
    Get Event Count    the pool    should be    0    code=~.
