*** Settings ***
Documentation       What the devices tell of themselves, and GPUs that are divided into MIG instances, each a device of its own.
Resource            PoolManagerResources/scenario.resource
Test Tags           devices    OC-POOL-3012


*** Test Cases ***
A GPU tells what it is and how it is
    [Tags]    B-DEVICE-015
    Given a GPU with 8 GiB
    And the GPU has a temperature of 71 °C, a utilisation of 87 % and 3 memory errors, and the driver keeps 256 MiB of it
    Then the GPU shows    temperature_celsius 71    utilization_percent 87    ecc_uncorrected_errors 3    compute_capability 9.0
    ...    memory_driver_bytes 256 MiB    memory_free_bytes 7.75 GiB    memory_used_bytes 0    recovery_action 0    mig false    parent null
    And the host shows driver 580.00 and CUDA 13.0
    And the same is shown over gRPC
    When the operator runs pool-managerd devices
    Then it exits with 0
    And the answer names 71 °C
    And the answer names Driver 580.00, CUDA up to 13.0

A pool runs on one MIG instance, sees it alone and is charged for it alone
    [Tags]    B-DEVICE-005    B-DEVICE-010    B-DEVICE-015    OC-POOL-3020
    Given a GPU named card that is divided into MIG instances of 10 GiB and 20 GiB
    And a ready pool named one on GPU card-1    needs=4 GiB
    And a ready pool named two on GPU card-2    needs=12 GiB
    Then GPU card-1 is held by    the engine of pool one with 4 GiB
    And GPU card-2 is held by    the engine of pool two with 12 GiB
    And GPU card-1 shows    memory_total_bytes 10 GiB    memory_reserved_bytes 4 GiB    mig false
    And GPU card shows    mig true    memory_total_bytes 30 GiB
    And GPU card-1 is shown as a part of GPU card
    And the engine of pool two sees GPU card-2 only
    And every pool stays ready for 200 ms

A mask cannot name a GPU that is divided, nor several instances for one process
    [Tags]    B-DEVICE-004    OC-POOL-3020
    Given a GPU named card that is divided into MIG instances of 10 GiB and 20 GiB
    And a pool named whole on GPU card
    When the config is reloaded
    Then it is refused with 400 INVALID_DEVICE_MASK
    And the error names "divided into MIG instances", GPU card, GPU card-1 and GPU card-2
    When pool whole is removed from the config
    And a pool named both on GPUs card-1 and card-2    tensor_split=[1, 1]
    And the config is reloaded
    Then it is refused with 400 INVALID_DEVICE_MASK
    And the error names "one MIG instance only"

An XID of one instance leaves the others alone, one that calls for a reset does not
    [Tags]    B-XID-001    B-XID-002    OC-POOL-3010
    Given a GPU named card that is divided into MIG instances of 10 GiB and 20 GiB
    And a ready pool named one on GPU card-1    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And a ready pool named two on GPU card-2    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    When XID 31 is reported for GPU card-1
    Then pool one becomes unready within 500 ms
    And pool two stays ready for 200 ms
    And pool one is in phase ready within 3 s
    When XID 95 is reported for GPU card
    Then pool one becomes unready within 500 ms
    And pool two becomes unready within 500 ms
    And every pool is in phase ready within 5 s


*** Keywords ***
The GPU has a temperature of ${degrees:\d+} °C, a utilisation of ${percent:\d+} % and ${errors:\d+} memory errors, and the driver keeps ${size:\S+ \S+} of it
    Change GPU    the GPU    temperature=${degrees}    utilization=${percent}    ecc_errors=${errors}    memory_reserved=${size}

The host shows driver ${driver} and CUDA ${cuda}
    Http Request    GET    /v2/devices
    Answer Field    driver_version    ==    ${driver}
    Answer Field    cuda_version    ==    ${cuda}

The same is shown over gRPC
    Call Grpc    ListDevices
    ${devices} =    Answer Field    devices
    ${uuid} =    Get GPU Uuid
    ${mine} =    Evaluate    next(filter(lambda one, uuid=$uuid: one['uuid'] == uuid, $devices))
    Should Be Equal As Integers    ${mine}[temperature_celsius]    71
    Should Be Equal    ${mine}[compute_capability]    9.0
    Answer Field    driver_version    ==    580.00

GPU ${instance:[\w-]+} is shown as a part of GPU ${gpu:[\w-]+}
    ${uuid} =    Get GPU Uuid    ${gpu}
    ${index} =    Get Device Field    ${gpu}    index
    Get Device Field    ${instance}    parent    ==    ${uuid}
    Get Device Field    ${instance}    index    ==    ${index}

The engine of pool ${name:\w+} sees GPU ${gpu:[\w-]+} only
    ${environment} =    Get Engine Process    environ    engine=engine of pool ${name}
    ${uuid} =    Get GPU Uuid    ${gpu}
    Should Be Equal    ${environment}[CUDA_VISIBLE_DEVICES]    ${uuid}
