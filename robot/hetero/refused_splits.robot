*** Settings ***
Documentation       A split that cannot be, or that some GPU could not hold its share of, is refused by name and never changed.
Library             Collections
Resource            PoolManagerResources/scenario.resource
Test Tags           hetero    OC-POOL-3021


*** Test Cases ***
A share too large for the smallest GPU is refused, with the largest ratio, which is accepted
    [Tags]    B-HETERO-003    B-HETERO-004
    Given a GPU named big with 40 GiB
    And a GPU named small with 8 GiB
    And a GGUF model split.gguf with 20 GiB of weights and 64 KiB of KV cache per token
    And a pool of kind llamacpp whose engine holds 20 GiB of GPU memory    model=models/split.gguf    gpu=big+small
    ...    tensor_split=[1, 1]    context=4096    slots=1
    When the pool is preloaded
    Then the preload fails within 1 s with INVALID_SPLIT
    And the error names GPU small, "ratio 0.5", 10.13 GiB, 8 GiB
    And the pool is in phase failed
    And no engine process was started
    And the plan says the same and exits with 1
    When the split is the largest one named
    And the config is reloaded
    Then the pool becomes ready within 5 s
    And the engine was told that very ratio

A ratio just above the largest one named is refused
    [Tags]    B-HETERO-004
    Given a GPU named big with 40 GiB
    And a GPU named small with 8 GiB
    And a GGUF model split.gguf with 20 GiB of weights and 64 KiB of KV cache per token
    And a pool of kind llamacpp    model=models/split.gguf    gpu=big+small    tensor_split=[1, 1]    context=4096    slots=1
    When the pool is preloaded
    Then the preload fails within 1 s with INVALID_SPLIT
    When the split is 0.00001 above the largest one named
    And the config is reloaded
    Then the preload fails within 2 s with INVALID_SPLIT
    And the error names GPU small
    And no engine process was started

A longer context can make a formerly good split fail
    [Documentation]    Of 16 GiB of weights 6.4 GiB lie on the small GPU, which has 7.5 GiB for them beside the overhead.
    [Tags]    B-HETERO-005
    Given a daemon of its own    devices.overhead_bytes=512 MiB
    And a GGUF model split.gguf with 16 GiB of weights and 64 KiB of KV cache per token
    And a pool over a GPU of 24 GiB and one of 8 GiB for each of these contexts
    ...    good | 32768
    ...    over | 49152
    ...    longer | 65536
    When the plan is made
    Then it exits with 1
    And the plan says
    ...    pool | gpu | kv_bytes | fits | code
    ...    good | small-good | 858993460 | true | null
    ...    over | small-over | 1288490189 | false | INVALID_SPLIT
    ...    longer | small-longer | 1717986919 | false | INVALID_SPLIT
    And of pools over and longer it says that context = 41728 would fit

Several GPUs without a split are refused, equal cards too
    [Tags]    B-HETERO-007
    [Template]    GPUs of ${sizes} without a split are refused, naming "${text}"
    8 GiB and 8 GiB              the mask has 2 GPUs and tensor_split is not set
    24 GiB and 8 GiB             the mask has 2 GPUs and tensor_split is not set
    8 GiB and 8 GiB and 8 GiB    the mask has 3 GPUs and tensor_split is not set

A split that is none is refused everywhere
    [Tags]    B-HETERO-008    B-HETERO-009    B-HETERO-010
    Given pools on two GPUs with these splits
    ...    simulated    [1]                 1 weights and the mask has 2 GPUs
    ...    simulated    [1, 2, 3]           3 weights and the mask has 2 GPUs
    ...    simulated    [1, 0]              must be above 0.0, and is 0
    ...    simulated    [1, -2]             must be above 0.0, and is -2
    ...    simulated    [1, Infinity]       must be a finite number
    ...    simulated    [1, NaN]            must be a finite number
    ...    simulated    [1, "two"]          must be a number
    ...    vllm         [2, 1]              'vllm' can only split evenly
    ...    tgi          [2, 1]              'tgi' can only split evenly
    ...    triton       [2, 1]              'triton' can only split evenly
    When the operator runs pool-managerd check-config {config}
    Then it exits with 2
    And it says of each pool what is wrong with its split
    When the config is reloaded
    Then it is refused with 400 INVALID_SPLIT
    And it says of each pool what is wrong with its split
    When the operator runs pool-managerd serve --config {config}
    Then it exits with 2
    And it says of each pool what is wrong with its split

Equal ratios are accepted by an engine that can only split evenly
    [Tags]    B-HETERO-010
    Given a ready pool of kind vllm    gpus=2    tensor_split=[7, 7]
    Then the command line of the engine has    --tensor-parallel-size    2


*** Keywords ***
The plan says the same and exits with 1
    ${error} =    Last Error Should Be    the pool    INVALID_SPLIT
    Make Plan
    Answer Should Be    1
    Get Planned    the pool    code    ==    INVALID_SPLIT    gpu=small
    Get Planned    the pool    verdict    contains    the largest ratio is ${error}[details][largest_ratio]    gpu=small
    Get Planned    the pool    verdict    contains    has room, but another of its GPUs has not    gpu=big
    VAR    ${LARGEST} =    ${error}[details][largest_ratio]    scope=TEST

The split is the largest one named
    The Split Is 0 Above The Largest One Named

The split is ${more} above the largest one named
    ${error} =    Last Error Should Be    the pool    INVALID_SPLIT
    VAR    ${LARGEST} =    ${{ $error['details']['largest_ratio'] + float($more) }}    scope=TEST
    Change Pool    the pool    tensor_split=${{ [1 - $LARGEST, $LARGEST] }}

The engine was told that very ratio
    ${line} =    Get Engine Process    cmdline
    ${told} =    Evaluate    [float(part) for part in $line[$line.index('-ts') + 1].split(',')]
    Should Be True    abs(${told}[1] - ${LARGEST}) < 0.000001
    ${split} =    Get Replica Field    r0    split
    Should Be True    abs(${split}[1] - ${LARGEST}) < 0.000001

A pool over a GPU of ${big:\S+ \S+} and one of ${small:\S+ \S+} for each of these contexts
    [Arguments]    @{rows}
    FOR    ${row}    IN    @{rows}
        ${name}    ${context} =    Evaluate    $row.split(' | ')
        Define GPU    big-${name}    ${big}
        Define GPU    small-${name}    ${small}
        Define Pool    ${name}    engine=llamacpp    binary=/bin/true    model=models/split.gguf
        ...    gpu=big-${name}+small-${name}    tensor_split=[3, 2]    context=${context}    slots=1
    END

Of pools over and longer it says that context = ${context:\d+} would fit
    Get Planned    over    hint    contains    context = ${context} would fit    gpu=small-over
    Get Planned    longer    hint    contains    context = ${context} would fit    gpu=small-longer

GPUs of ${sizes} without a split are refused, naming "${text}"
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    VAR    @{gpus} =    @{EMPTY}
    FOR    ${size}    IN    @{{ $sizes.split(' and ') }}
        ${gpu} =    Evaluate    'g' + uuid.uuid4().hex[:8]
        Define GPU    ${gpu}    ${size}
        Append To List    ${gpus}    ${gpu}
    END
    Define Pool    ${name}    gpu=${{ '+'.join($gpus) }}
    Reload Config
    Answer Should Be    400 INVALID_SPLIT
    Error Should Name    "${text}"    pool ${name}
    Remove Pool    ${name}

Pools on two GPUs with these splits
    [Documentation]    Engine, weights, and what is wrong with them.
    [Arguments]    @{cells}
    VAR    @{EXPECTED} =    @{EMPTY}    scope=TEST
    FOR    ${engine}    ${weights}    ${problem}    IN    @{cells}
        ${pool} =    Evaluate    'p' + uuid.uuid4().hex[:8]
        ${id} =    Define Pool    ${pool}    engine=${engine}    gpus=${2}    tensor_split=${weights}    binary=/bin/true
        Append To List    ${EXPECTED}    ${id}    ${problem}
    END

It says of each pool what is wrong with its split
    ${text} =    Answer Text
    FOR    ${id}    ${problem}    IN    @{EXPECTED}
        Should Match Regexp    ${text}    pool\\[${id}\\][.]tensor_split.*${problem}
    END
    Should Contain    ${text}    INVALID_SPLIT
