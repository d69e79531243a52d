*** Settings ***
Documentation       What a split over GPUs comes to, told without a daemon, and told to the engine in the same proportions.
Library             Collections
Resource            PoolManagerResources/scenario.resource
Test Tags           hetero    OC-POOL-3021


*** Test Cases ***
The plan shows for each GPU its ratio and its bytes of weights and KV cache, without a daemon
    [Tags]    B-HETERO-001    B-HETERO-002
    Given a daemon of its own    devices.overhead_bytes=512 MiB
    And a GPU named big with 24 GiB
    And a GPU named small with 8 GiB
    And a GGUF model split.gguf with 16 GiB of weights and 64 KiB of KV cache per token
    And a pool of kind llamacpp    model=models/split.gguf    gpu=big+small    tensor_split=[3, 1]    context=16384    slots=4
    When the plan is made
    Then it exits with 0
    And the plan says
    ...    pool | gpu | ratio | weights_bytes | kv_bytes | reserved_bytes | free_bytes | fits | verdict
    ...    the pool | big | 0.75 | 12884914176 | 3 GiB | 0 B | 23.5 GiB | true | fits
    ...    the pool | small | 0.25 | 4294971392 | 1 GiB | 0 B | 7.5 GiB | true | fits
    And the table shows the same of GPUs big and small
    And no daemon has been started

Ratios are normalised, and the engine gets the same proportions in mask order
    [Tags]    B-HETERO-002
    [Template]    The weights ${weights} are planned as ${ratios} and told to the engine so
    3, 1                0.75, 0.25
    0.001, 0.003        0.25, 0.75
    2000000, 1000000    0.666666667, 0.333333333
    1, 1, 5             0.142857143, 0.142857143, 0.714285714

A pool with one GPU gets no split option
    [Tags]    B-HETERO-006
    [Template]    A ${kind} pool with one GPU and the weights ${weights} gets no split option
    llamacpp    []
    llamacpp    [7]
    vllm        []
    tgi         [1]


*** Keywords ***
The table shows the same of GPUs ${one:\w+} and ${other:\w+}
    Run Pool Managerd    devices --plan {config}    daemon=False
    Answer Should Be    0
    ${first} =    Get GPU Uuid    ${one}
    ${second} =    Get GPU Uuid    ${other}
    Answer Text    matches    ${first} +0[.]750000 +12[.]0 GiB +3 GiB .* fits
    Answer Text    matches    ${second} +0[.]250000 +4[.]0 GiB +1 GiB .* fits
    Answer Text    contains    All pools fit

No daemon has been started
    ${folder} =    Get Daemon    state_dir
    Should Not Be True    os.path.exists($folder)

The weights ${weights} are planned as ${ratios} and told to the engine so
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    ${wanted} =    Evaluate    [float(ratio) for ratio in $ratios.split(', ')]
    Create GGUF Model    tiny.gguf
    Define Engine Pool    llamacpp    ${name}    holds 48 MiB of GPU memory    gpus=${{ len($wanted) }}    tensor_split=[${weights}]
    ${planned} =    The Planned Ratios Of    ${name}
    Ratios Should Be    ${planned}    ${wanted}
    Make Ready    pool ${name}
    The Engine Was Told    ${wanted}    ${name}

The planned ratios of
    [Arguments]    ${pool}
    ${plan} =    Make Plan
    ${id} =    Get Pool Id    ${pool}
    VAR    @{planned} =    @{EMPTY}
    FOR    ${row}    IN    @{plan}[placements]
        IF    $row['pool_id'] == $id    Append To List    ${planned}    ${row}[ratio]
    END
    RETURN    ${planned}

Ratios should be
    [Arguments]    ${seen}    ${wanted}
    Length Should Be    ${seen}    ${{ len($wanted) }}
    Should Be True    abs(sum($seen) - 1) < 1e-6
    FOR    ${one}    ${other}    IN ZIP    ${seen}    ${wanted}
        Should Be True    abs(${one} - ${other}) < 1e-6
    END

The engine was told
    [Arguments]    ${wanted}    ${pool}
    ${line} =    Get Engine Process    cmdline    engine=engine of pool ${pool}
    ${told} =    Evaluate    [float(part) for part in $line[$line.index('-ts') + 1].split(',')]
    Length Should Be    ${told}    ${{ len($wanted) }}
    FOR    ${one}    ${other}    IN ZIP    ${told}    ${wanted}
        Should Be True    abs(${one} - ${other}) < 1e-6
    END
    Get Replica Field    ${pool}/r0    split    validate    abs(sum(value) - 1) < 1e-6

A ${kind:\w+} pool with one GPU and the weights ${weights} gets no split option
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define Engine Pool    ${kind}    ${name}    tensor_split=${weights}
    Make Ready    pool ${name}
    ${line} =    Get Engine Process    cmdline    engine=engine of pool ${name}
    Should Not Be True    {'-ts', '--tensor-split', '-sm', '--split-mode', '-mg', '--split', '--main-gpu'} & set($line)
