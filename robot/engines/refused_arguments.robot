*** Settings ***
Documentation       The operator's own arguments never put a part of a model on the CPU: nothing is started with them.
Resource            PoolManagerResources/scenario.resource
Test Tags           engines    OC-POOL-3012
Test Template       A ${kind} pool with the arguments ${args} is refused, naming ${argument}


*** Test Cases ***                          KIND        ARGS                            ARGUMENT
A llama server with too few layers          llamacpp    ["-ngl", "10"]                  -ngl
    [Tags]    B-ENGINE-001
A llama server with layers by long name     llamacpp    ["--n-gpu-layers=0"]            --n-gpu-layers
    [Tags]    B-ENGINE-001
A llama server with automatic layers        llamacpp    ["-ngl", "auto"]                -ngl
    [Tags]    B-ENGINE-001
A llama server with fitting                 llamacpp    ["--fit", "on"]                 --fit
    [Tags]    B-ENGINE-001
A llama server with the KV cache at home    llamacpp    ["--no-kv-offload"]             --no-kv-offload
    [Tags]    B-ENGINE-001
A llama server with experts on the CPU      llamacpp    ["--cpu-moe"]                   --cpu-moe
    [Tags]    B-ENGINE-001
A llama server with some experts there      llamacpp    ["--n-cpu-moe", "4"]            --n-cpu-moe
    [Tags]    B-ENGINE-001
A llama server with tensors on the CPU      llamacpp    ["-ot", "ffn_.*_exps.=CPU"]     -ot
    [Tags]    B-ENGINE-001
A llama server with its projector there     llamacpp    ["--no-mmproj-offload"]         --no-mmproj-offload
    [Tags]    B-ENGINE-001
A vLLM server with offloading               vllm        ["--cpu-offload-gb", "4"]       --cpu-offload-gb
    [Tags]    B-ENGINE-002
A vLLM server with swapping                 vllm        ["--swap-space=4"]              --swap-space
    [Tags]    B-ENGINE-002
A vLLM server with swapping, cut short      vllm        ["--swap-spac", "4"]            --swap-space
    [Tags]    B-ENGINE-002
A vLLM server with a connector of its KV    vllm        ["--kv-transfer-config.kv_connector=X"]    --kv-transfer-config
    [Tags]    B-ENGINE-002
A vLLM server on the CPU                    vllm        ["--device", "cpu"]             --device
    [Tags]    B-ENGINE-002
A TGI server without CUDA                   tgi         ["--disable-cuda"]              --disable-cuda
    [Tags]    B-ENGINE-003


*** Keywords ***
A ${kind} pool with the arguments ${args} is refused, naming ${argument}
    [Documentation]    CPU_SPILLOVER before anything is started, and not tried again.
    Given a pool of kind ${kind}    args=${args}
    When the pool is preloaded
    Then the preload fails within 1 s with CPU_SPILLOVER
    And the error names ${argument}
    And no engine process was started
    And the pool is in phase failed
