*** Settings ***
Documentation       The GPUs of a pool: what its mask means, the same wherever it is shown.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry    OC-POOL-3020


*** Test Cases ***
A mask of UUIDs
    [Tags]    B-REG-050
    Given a GPU named card with 8 GiB
    ${uuid} =    Get Gpu Uuid    card
    Then the mask "${uuid}" means GPU card

A mask of an index
    [Tags]    B-REG-050
    Given a GPU named card with 8 GiB
    ${index} =    Get Device Field    card    index
    Then the mask "${index}" means GPU card

A mask of a name
    [Tags]    B-REG-050
    Given a GPU named card with 8 GiB
    ${index} =    Get Device Field    card    index
    Then the mask "GPU${index}" means GPU card

A mask of two GPUs is the same everywhere
    [Tags]    B-REG-051    B-REG-050    B-REG-102
    Given a GPU named big with 8 GiB
    And a GPU named small with 4 GiB
    And a ready pool    gpu=big+small    tensor_split=[3, 1]    vram_bytes=4 GiB    simulated.vram_bytes=4 GiB
    Then the mask of the pool is the same everywhere    big    small
    And the handoff files of the pool agree with its status

Two replicas have a mask each
    [Tags]    B-REG-050    B-REG-051    B-REG-102
    Given a GPU named one with 8 GiB
    And a GPU named two with 8 GiB
    And a ready pool    gpu=one+two    replicas=2    min_ready=2
    Then the mask of the pool is the same everywhere    one    two
    And replica r0 has GPU one, and replica r1 GPU two
    And the handoff files of the pool agree with its status

Without a mask the only GPU of a host is taken
    [Tags]    B-REG-052
    Given a daemon of its own
    And a GPU named only with 8 GiB
    And a pool    devices=none
    When the operator runs pool-managerd check-config {config}
    Then it exits with 0
    When a caller waits 5 s for the preload of the pool
    Then the pool shows ready true
    And the mask of the pool is the same everywhere    only
    When the config is reloaded
    Then the reload reports every pool as unchanged

Without a mask a host with two GPUs is refused
    [Tags]    B-REG-052
    Given a GPU named one with 8 GiB
    And a GPU named two with 8 GiB
    And a pool named well    gpu=one
    And pool well shows phase stopped
    And a pool    devices=none
    When the config is reloaded
    Then it is refused with 400 INVALID_DEVICE_MASK
    And the error names the pool
    When the operator runs pool-managerd check-config {config}
    Then it exits with 2
    And the answer names no device mask is given, and this host has 3 GPUs
    And only pool well is configured

Without a mask a host that got another GPU is refused
    [Tags]    B-REG-052
    Given a daemon of its own
    And a GPU named one with 8 GiB
    And a pool    devices=none
    And the pool has been preloaded
    And the status of the pool is noted
    When another GPU comes
    And the config is reloaded
    Then it is refused with 400 INVALID_DEVICE_MASK
    And the error names the pool
    And the status of the pool is as noted


*** Keywords ***
The mask "${mask}" means GPU ${name}
    [Documentation]    In the status as a list, and in the replica's devices.
    ${uuid} =    Get Gpu Uuid    ${name}
    Given a ready pool    devices="${mask}"
    Then Get Pool Field    the pool    device_mask    ==    ${{ [$uuid] }}
    And Get Replica Field    r0    devices    ==    ${{ [$uuid] }}
    And every view of the pool shows the same device_mask
    And the handoff file's device_mask equals the status' device_mask

Replica r0 has GPU ${first}, and replica r1 GPU ${second}
    [Documentation]    By their UUIDs.
    ${one} =    Get Gpu Uuid    ${first}
    ${two} =    Get Gpu Uuid    ${second}
    Get Replica Field    r0    devices    ==    ${{ [$one] }}
    Get Replica Field    r1    devices    ==    ${{ [$two] }}

Only pool ${name} is configured
    [Documentation]    A refused config changes nothing.
    ${list} =    Get Pool List
    ${id} =    Get Pool Id    ${name}
    Should Be Equal    ${{ [pool['pool_id'] for pool in $list['pools']] }}    ${{ [$id] }}

Another GPU comes
    [Documentation]    Into the host.
    A GPU named another with 8 GiB
