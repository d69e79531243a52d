*** Settings ***
Documentation       An engine that holds much less than its share of the weights is not where it should be, whatever it answers.
Resource            PoolManagerResources/scenario.resource
Test Tags           memory    OC-POOL-3012


*** Test Cases ***
An engine may fall short of its weights by the tolerance of 10 % and no more
    [Documentation]    2 GiB of weights and 16 KiB of output layer; 90 % of that are 1843.2 MiB.
    [Tags]    B-MEM-012
    [Template]    An engine that holds ${held} of its weights ${judged}
    1844 MiB    becomes ready
    1842 MiB    is not resident
    2048 MiB    becomes ready
    64 MiB      is not resident

The input embedding, which stays in host memory, is not asked for
    [Tags]    B-MEM-012
    Given a GPU with 16 GiB
    And a GGUF model wide.gguf with 2 GiB of weights and 64 KiB of KV cache per token    embedding=4 GiB
    And a pool of kind llamacpp whose engine holds 2 GiB of GPU memory    model=models/wide.gguf    gpu=the GPU
    ...    context=512    slots=1
    When a caller waits 5 s for the preload of the pool
    Then the pool shows    ready true

The tolerance is the one that the config says
    [Tags]    B-MEM-012
    Given a daemon of its own    devices.residency_tolerance=0.5
    And a GPU with 16 GiB
    And a GGUF model plain.gguf with 2 GiB of weights and 64 KiB of KV cache per token
    And a pool of kind llamacpp whose engine holds 1025 MiB of GPU memory    model=models/plain.gguf    gpu=the GPU
    ...    context=512    slots=1
    When a caller waits 5 s for the preload of the pool
    Then the pool shows    ready true


*** Keywords ***
An engine that holds ${held:\S+ \S+} of its weights ${judged}
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define GPU    ${name}    16 GiB
    Create GGUF Model    plain.gguf    2 GiB    kv_bytes=64 KiB
    Define Engine Pool    llamacpp    ${name}    holds ${held} of GPU memory    model=models/plain.gguf    gpu=${name}    context=512
    ...    slots=1
    Preload Pool    ${name}
    Run Keyword    The Engine ${judged}    ${name}

The engine becomes ready
    [Arguments]    ${pool}
    Pool Should Become    ${pool}    ready    within=5 s
    Pool Should Stay    ${pool}    ready    100 ms

The engine is not resident
    [Arguments]    ${pool}
    Load Should Fail    ${pool}    CPU_SPILLOVER    within=5 s
    Error Should Name    GPU ${pool}
    Pool Should Become    ${pool}    in phase failed    within=5 s
    Phase Should Never Be    ${pool}    ready
    Engine Process Count    ${pool}    ==    0
