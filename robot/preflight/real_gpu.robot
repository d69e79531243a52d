*** Settings ***
Documentation    The same on a real NVIDIA GPU, judged by NVML itself. Skipped where there is none.

Resource         PoolManagerResources/scenario.resource

Suite Setup      Skip Where There Is No Real GPU

Test Tags        preflight    gpu    OC-POOL-3012


*** Test Cases ***
Serve lists the real GPUs as NVML shows them, without any tool on PATH
    [Tags]    B-PREFLIGHT-001    B-PREFLIGHT-002
    Given a daemon of its own    devices.source=nvml    gpus=-1    environment=${{ {'PATH': '/nonexistent'} }}
    When the daemon is started
    Then the daemon still serves
    And /v2/devices lists the GPUs that NVML shows


*** Keywords ***
Skip Where There Is No Real GPU
    TRY
        Evaluate    pynvml.nvmlInit()
        ${count} =    Evaluate    pynvml.nvmlDeviceGetCount()
    EXCEPT    AS    ${reason}
        Skip    There is no real NVIDIA GPU here: ${reason}
    END
    Skip If    ${count} == 0    There is no real NVIDIA GPU here: the driver shows none.

/v2/devices lists the GPUs that NVML shows
    ${devices} =    Get Devices
    ${count} =    Evaluate    pynvml.nvmlDeviceGetCount()
    Length Should Be    ${devices}    ${count}
    FOR    ${device}    IN    @{devices}
        ${handle} =    Evaluate    pynvml.nvmlDeviceGetHandleByUUID($device['uuid'])
        Should Be Equal    ${device}[name]    ${{ pynvml.nvmlDeviceGetName($handle) }}
        Should Be Equal As Integers    ${device}[index]    ${{ pynvml.nvmlDeviceGetIndex($handle) }}
        Should Be Equal As Integers
        ...    ${device}[memory_total_bytes]
        ...    ${{ pynvml.nvmlDeviceGetMemoryInfo($handle).total }}
        Should Be True    0 < ${device}[memory_free_bytes] <= ${device}[memory_total_bytes]
    END
