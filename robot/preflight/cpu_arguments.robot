*** Settings ***
Documentation    Arguments that would leave a part of the model on the CPU are refused before anything is spawned.

Resource         PoolManagerResources/scenario.resource

Test Template    Pool arguments of ${engine} like ${arguments} are refused, naming ${argument}

Test Tags        preflight    OC-POOL-3012    B-PREFLIGHT-018


*** Test Cases ***    ENGINE    ARGUMENTS    ARGUMENT
No layer on the GPU    llamacpp    ["-ngl", "0"]    -ngl 0
Some layers on the GPU    llamacpp    ["--n-gpu-layers", "20"]    --n-gpu-layers 20
Layers with an equals sign    llamacpp    ["--gpu-layers=0"]    --gpu-layers=0
KV cache in host memory    llamacpp    ["--no-kv-offload"]    --no-kv-offload
KV cache in host memory, short    llamacpp    ["-nkvo"]    -nkvo
Experts on the CPU    llamacpp    ["--cpu-moe"]    --cpu-moe
Some experts on the CPU    llamacpp    ["--n-cpu-moe", "4"]    --n-cpu-moe 4
Tensors put into host memory    llamacpp    ["-ot", "blk.*=CPU"]    -ot blk.*=CPU
Tensors put into host memory, long    llamacpp    ["--override-tensor", "exps=CPU"]    --override-tensor exps=CPU
A fit that may offload by itself    llamacpp    ["--fit", "on"]    --fit on
No device at all    llamacpp    ["--device", "none"]    --device none
Between harmless arguments    llamacpp    ["--threads", "4", "-ngl", "0", "--mlock"]    -ngl 0
The stand-in, no layer on the GPU    simulated    ["-ngl", "0"]    -ngl 0
The stand-in, experts on the CPU    simulated    ["--cpu-moe"]    --cpu-moe
Weights of vLLM in host memory    vllm    ["--cpu-offload-gb", "4"]    --cpu-offload-gb 4
No GPU for vLLM    vllm    ["--device", "cpu"]    --device cpu


*** Keywords ***
Pool arguments of ${engine} like ${arguments} are refused, naming ${argument}
    Define Pool    pool    engine=${engine}    args=${arguments}    vram_bytes=1 GiB    binary=/bin/true
    Preload Pool    the pool
    Load Should Fail    the pool    CPU_SPILLOVER    within=1 s
    Last Error Should Be    the pool    CPU_SPILLOVER
    Error Should Name    "${argument}"
    Error Field    details.argument    ==    ${argument}
    Pool Should Show    the pool    phase failed
    Phases Should Be    the pool    preflight    failed
    Engine Should Not Have Been Started    the pool
