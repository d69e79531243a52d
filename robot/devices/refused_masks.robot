*** Settings ***
Documentation       A mask that cannot mean what its operator wants is refused by name, and what exists is listed.
Library             Collections
Resource            PoolManagerResources/scenario.resource
Test Tags           devices    OC-POOL-3020


*** Test Cases ***
A device that the host has not is refused by check-config and by a config reload
    [Tags]    B-DEVICE-003    B-DEVICE-004
    Given a GPU named here with 8 GiB
    And a pool named index    devices="97"
    And a pool named name    devices="GPU98"
    And a pool named uuid    devices=GPU-00000000-0000-0000-0000-00000000dead
    And a pool named mig    devices=MIG-00000000-0000-0000-0000-00000000beef
    When the operator runs pool-managerd check-config {config}
    Then it exits with 2
    And the answer names INVALID_DEVICE_MASK for each pool with its device, and GPU here
    And a config reload with one of them refuses
    ...    index | 97
    ...    name | index 98
    ...    uuid | GPU-00000000-0000-0000-0000-00000000dead
    ...    mig | MIG-00000000-0000-0000-0000-00000000beef

A mask is checked against the inventory at the start, and only its pool fails
    [Tags]    B-DEVICE-003    B-DEVICE-017    OC-POOL-3012
    Given a daemon of its own
    And a GPU named well with 8 GiB
    And a pool named absent    devices=GPU-00000000-0000-0000-0000-00000000dead    preload=true
    And a pool named well on GPU well    preload=true
    When the daemon is started
    Then pool well is in phase ready within 10 s
    And the mask of pool well is the same everywhere    well
    And pool absent is in phase failed within 2 s
    And the last error of pool absent is GPU_UNAVAILABLE
    And the error names "GPU-00000000-0000-0000-0000-00000000dead"
    And the error names GPU well
    And pool absent shows device_mask []
    And no engine process of pool absent was started

A malformed mask is refused everywhere
    [Tags]    B-DEVICE-004    B-DEVICE-007
    Given pools with these masks
    ...    "0,"             element 2 is empty
    ...    ",0"             element 1 is empty
    ...    "0,,1"           element 2 is empty
    ...    ["0", ""]        element 2 is empty
    ...    "0,0"            names 0 twice
    ...    "GPU0,0"         names 0 twice
    ...    "0;1"            no index, name or UUID
    ...    "every"          no index, name or UUID
    ...    ["-1"]           no index, name or UUID
    When the operator runs pool-managerd check-config {config}
    Then it exits with 2
    And it says of each pool what is wrong with its mask
    When the config is reloaded
    Then it is refused with 400 INVALID_DEVICE_MASK
    And it says of each pool what is wrong with its mask
    When the operator runs pool-managerd serve --config {config}
    Then it exits with 2
    And it says of each pool what is wrong with its mask
    When the operator runs pool-managerd devices --plan {config}
    Then it exits with 2
    And it says of each pool what is wrong with its mask

The same GPU under two names is refused
    [Tags]    B-DEVICE-007
    [Template]    The same GPU as ${form} is refused
    an index and a UUID
    a UUID and a name

Two pools whose masks overlap are refused unless each is willing to share
    [Tags]    B-DEVICE-014
    [Template]    A pool that is ${first} and one that is ${second} on the same GPU are ${judged}
    unwilling    unwilling    refused
    willing      unwilling    refused
    unwilling    willing      refused
    willing      willing      ready both

Two masks that mean the same GPU in different words are refused at the start, too
    [Tags]    B-DEVICE-014    B-DEVICE-003
    Given a daemon of its own
    And a GPU named only with 8 GiB
    And a pool named one    devices="0"    preload=true
    And a pool named two on GPU only    preload=true
    When the operator runs pool-managerd check-config {config}
    Then it exits with 2
    And the answer names both pools
    When the daemon is started
    Then each of both pools has failed with INVALID_DEVICE_MASK, naming both
    And no engine process was started

A list of masks of another length than replicas is refused
    [Tags]    B-REPLICA-007
    [Template]    ${masks} for ${replicas} replicas are refused, naming both numbers
    3 masks    2
    2 masks    3
    1 mask     2


*** Keywords ***
The answer names INVALID_DEVICE_MASK for each pool with its device, and GPU here
    ${text} =    Answer Text
    ${here} =    Get GPU Uuid    here
    FOR    ${pool}    ${device}    IN
    ...    index    index 97
    ...    name    index 98
    ...    uuid    GPU-00000000-0000-0000-0000-00000000dead
    ...    mig    MIG-00000000-0000-0000-0000-00000000beef
        ${id} =    Get Pool Id    ${pool}
        Should Match Regexp    ${text}    pool\\[${id}\\][.]devices: .*${device}.*${here}.*INVALID_DEVICE_MASK
    END

A config reload with one of them refuses
    [Documentation]    Rows of pool and device: each pool alone, with nothing else wrong in the file.
    [Arguments]    @{rows}
    ${tables} =    Evaluate    [row.split(' | ') for row in $rows]
    FOR    ${row}    IN    @{tables}
        Remove Pool    ${row}[0]
    END
    FOR    ${pool}    ${device}    IN    @{{ [cell for row in $tables for cell in row] }}
        Define Pool    ${pool}-alone    devices="${{ $device.removeprefix('index ') }}"
        Reload Config
        Answer Should Be    400 INVALID_DEVICE_MASK
        Error Should Name    "${device}"    GPU here    pool ${pool}-alone
        Remove Pool    ${pool}-alone
    END

Pools with these masks
    [Documentation]    Pairs of a mask and of what is wrong with it.
    [Arguments]    @{pairs}
    VAR    @{EXPECTED} =    @{EMPTY}    scope=TEST
    FOR    ${mask}    ${problem}    IN    @{pairs}
        ${pool} =    Evaluate    'p' + uuid.uuid4().hex[:8]
        ${id} =    Define Pool    ${pool}    devices=${mask}
        Append To List    ${EXPECTED}    ${id}    ${problem}
    END

It says of each pool what is wrong with its mask
    ${text} =    Answer Text
    FOR    ${id}    ${problem}    IN    @{EXPECTED}
        Should Match Regexp    ${text}    pool\\[${id}\\][.]devices: .*${problem}
    END
    Should Contain    ${text}    INVALID_DEVICE_MASK

The same GPU as ${form} is refused
    ${gpu} =    A GPU Of Any Name
    ${mask} =    Write Mask    ${form}    ${gpu}    ${gpu}
    Define Pool    ${gpu}    devices=${mask}    tensor_split=[1, 1]
    Run Pool Managerd    check-config {config}
    Answer Should Be    2
    Answer Text    matches    twice.*INVALID_DEVICE_MASK
    Reload Config
    Answer Should Be    400 INVALID_DEVICE_MASK
    Error Should Name    "twice"    GPU ${gpu}    pool ${gpu}
    Remove Pool    ${gpu}

A pool that is ${first:\w+} and one that is ${second:\w+} on the same GPU are ${judged}
    ${gpu} =    A GPU Of Any Name
    Define Pool    ${gpu}-one    gpu=${gpu}    needs=1 GiB    share_devices=${{ $first == 'willing' }}
    Define Pool    ${gpu}-two    gpu=${gpu}    needs=1 GiB    share_devices=${{ $second == 'willing' }}
    Reload Config
    Run Keyword    They Are ${judged}    ${gpu}    ${gpu}-one    ${gpu}-two

They Are ready both
    [Arguments]    ${gpu}    @{pools}
    Answer Should Be    accepted
    FOR    ${pool}    IN    @{pools}
        Make Ready    pool ${pool}
    END
    Wait Until Pool Is Ready    pools ${pools}[0] and ${pools}[1]
    GPU Holders Should Be    ${gpu}    the engine of pool ${pools}[0] with 1 GiB    the engine of pool ${pools}[1] with 1 GiB

They Are refused
    [Arguments]    ${gpu}    @{pools}
    Answer Should Be    400 INVALID_DEVICE_MASK
    Error Should Name    pool ${pools}[0]    pool ${pools}[1]    GPU ${gpu}
    FOR    ${pool}    IN    @{pools}
        Remove Pool    ${pool}
    END

The answer names both pools
    FOR    ${pool}    IN    one    two
        ${id} =    Get Pool Id    ${pool}
        Answer Text    contains    ${id}
    END
    Answer Text    contains    INVALID_DEVICE_MASK

Each of both pools has failed with INVALID_DEVICE_MASK, naming both
    FOR    ${pool}    IN    one    two
        Wait Until Pool Phase    ${pool}    failed    2 s
        Last Error Should Be    ${pool}    INVALID_DEVICE_MASK
        Error Should Name    pool one    pool two    GPU only
    END

${count:\d} mask${s:s?} for ${replicas:\d} replicas are refused, naming both numbers
    ${pool} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    ${masks} =    Evaluate    [[f'GPU-0000000{n}-0000-0000-0000-000000000000'] for n in range(${count})]
    Define Pool    ${pool}    replicas=${replicas}    devices=${masks}
    Run Pool Managerd    check-config {config}
    Answer Should Be    2
    Answer Text    contains    devices has ${count} mask${s} and replicas is ${replicas}. INVALID_DEVICE_MASK
    Reload Config
    Answer Should Be    400 INVALID_DEVICE_MASK
    Error Should Name    "devices has ${count} mask${s} and replicas is ${replicas}"    pool ${pool}
    Remove Pool    ${pool}

A GPU of any name
    ${gpu} =    Evaluate    'g' + uuid.uuid4().hex[:8]
    Define GPU    ${gpu}    8 GiB
    RETURN    ${gpu}
