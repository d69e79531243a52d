*** Settings ***
Documentation       Which GPUs a mask means, however it is written, and that the engine sees these and no others, in this order.
Resource            PoolManagerResources/scenario.resource
Test Tags           devices    OC-POOL-3020


*** Test Cases ***
A mask selects GPUs in its order, whichever way it names them
    [Tags]    B-DEVICE-001    B-DEVICE-002    B-DEVICE-003    B-DEVICE-005    B-DEVICE-006
    [Template]    A mask of ${two} as ${form} selects them in this order
    first and second    indices in a text
    second and first    indices in a text
    first and second    a list of indices
    second and first    a list of indices
    first and second    names in a text
    second and first    a list of names
    second and first    UUIDs in a text
    first and second    a list of UUIDs
    second and first    a name and a UUID

The resolved mask is the same after the daemon was killed and started again
    [Tags]    B-DEVICE-013
    Given a daemon of its own
    And a GPU named first with 8 GiB
    And a GPU named second with 8 GiB
    And a ready pool    devices="GPU1,0"    tensor_split=[1, 2]    preload=true
    And the engine sees the GPUs    second    first
    And what identifies the pool is noted
    When the daemon is killed and started again
    Then the pool becomes ready within 5 s
    And what identifies the pool is as before
    And the mask of the pool is the same everywhere    second    first
    And the engine sees the GPUs    second    first

A mask of UUIDs selects the same cards after their indices changed
    [Tags]    B-DEVICE-006
    Given a daemon of its own
    And a GPU named first with 8 GiB
    And a GPU named second with 8 GiB
    And a ready pool named kept on GPUs second    preload=true
    And a ready pool named fresh on GPUs first    preload=true
    And the pid of the engine of pool kept is noted
    When the daemon is killed
    And the engine of pool fresh is killed
    And GPUs first and second change places
    And the daemon is started
    Then GPU second shows index 0
    And every pool becomes ready within 10 s
    And the mask of pool kept is the same everywhere    second
    And the engine of pool kept is still the same process
    And engine r0 of pool kept sees GPU second only
    And engine r0 of pool fresh sees GPU first only

Each replica has the mask that stands at its place
    [Tags]    B-REPLICA-007    B-DEVICE-005
    Given a GPU named first with 8 GiB
    And a GPU named second with 8 GiB
    And a ready pool    gpu=second+first    replicas=2    min_ready=2
    Then engine r0 of the pool sees GPU second only
    And engine r1 of the pool sees GPU first only

A CUDA_VISIBLE_DEVICES of somebody else's changes nothing
    [Tags]    B-DEVICE-008
    Given a daemon of its own    environment=${{ {'CUDA_VISIBLE_DEVICES': '0,1', 'CUDA_DEVICE_ORDER': 'FASTEST_FIRST'} }}
    And a GPU named first with 8 GiB
    And a GPU named second with 8 GiB
    And a ready pool named plain on GPUs first
    And a ready pool named own on GPUs second
    ...    env={"CUDA_VISIBLE_DEVICES": "0,1", "CUDA_DEVICE_ORDER": "FASTEST_FIRST", "OMP_NUM_THREADS": "2"}
    Then the engine of pool plain has CUDA's variables for GPU first and no others of the caller's
    And the engine of pool own has CUDA's variables for GPU second and no others of the caller's
    And the engine of pool own has OMP_NUM_THREADS as its pool says
    And the daemon logs    level=warning    pool=pool own    human=~CUDA_VISIBLE_DEVICES.*is not passed on

Two pools on different GPUs see only their own at the same time
    [Tags]    B-DEVICE-012    B-DEVICE-005
    Given a GPU named first with 8 GiB
    And a GPU named second with 8 GiB
    And a GPU named third with 8 GiB
    And a ready pool named one on GPUs first
    And a ready pool named two on GPUs third and second    tensor_split=[1, 1]
    Then engine r0 of pool one sees GPU first only
    And pool two sees the GPUs    third    second
    And every pool is ready


*** Keywords ***
A mask of ${one:\w+} and ${other:\w+} as ${form} selects them in this order
    ${exists} =    Run Keyword And Return Status    Get GPU Uuid    first
    IF    not $exists
        Define GPU    first    8 GiB
        Define GPU    second    8 GiB
    END
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    ${mask} =    Write Mask    ${form}    ${one}    ${other}
    Define Pool    ${name}    devices=${mask}    tensor_split=[1, 1]    share_devices=true
    Make Ready    pool ${name}
    Mask Is In Order    ${name}    ${one}    ${other}
    The Engine Sees The GPUs    ${one}    ${other}
    Stop Pool    ${name}

Mask Is In Order
    [Arguments]    ${pool}    ${one}    ${other}
    ${first} =    Get GPU Uuid    ${one}
    ${second} =    Get GPU Uuid    ${other}
    Get Pool Field    ${pool}    device_mask    ==    ${{ [$first, $second] }}

GPUs ${one:\w+} and ${other:\w+} change places
    [Documentation]    NVML's order is another one, as after a change of the hardware.
    ${index} =    Evaluate    {'first': 0, 'second': 1}
    Change GPU    ${one}    index=${index}[${other}]
    Change GPU    ${other}    index=${index}[${one}]

${engine:engine r\d} of ${pool:the pool|pool \w+} sees GPU ${gpu:\w+} only
    ${environment} =    Get Engine Process    environ    engine=${engine} of ${pool}
    ${uuid} =    Get GPU Uuid    ${gpu}
    Should Be Equal    ${environment}[CUDA_VISIBLE_DEVICES]    ${uuid}

Pool ${name:\w+} sees the GPUs
    [Arguments]    @{gpus}
    Use Pool    ${name}
    The Engine Sees The GPUs    @{gpus}

The engine of pool ${name:\w+} has CUDA's variables for GPU ${gpu:\w+} and no others of the caller's
    ${environment} =    Get Engine Process    environ    engine=engine of pool ${name}
    ${uuid} =    Get GPU Uuid    ${gpu}
    Should Be Equal
    ...    ${{ {name: value for name, value in $environment.items() if 'CUDA' in name or 'NVIDIA' in name} }}
    ...    ${{ {'CUDA_VISIBLE_DEVICES': $uuid, 'CUDA_DEVICE_ORDER': 'PCI_BUS_ID'} }}

The engine of pool ${name:\w+} has OMP_NUM_THREADS as its pool says
    ${environment} =    Get Engine Process    environ    engine=engine of pool ${name}
    Should Be Equal    ${environment}[OMP_NUM_THREADS]    2
