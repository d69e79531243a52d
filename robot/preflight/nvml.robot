*** Settings ***
Documentation     GPUs are what NVML shows, through the driver's own library. A C library of that name stands in for the driver here.

Library           Collections
Library           OperatingSystem
Library           Process
Resource          PoolManagerResources/scenario.resource

Suite Setup       Build The Driver's Stand-In
Suite Teardown    Remove Directory    ${DRIVER}    recursive=True

Test Tags         preflight    OC-POOL-3012


*** Variables ***
${SOURCE}    ${CURDIR}/../../tests/devices/nvml_stand_in.c
${DRIVER}    ${EMPTY}


*** Test Cases ***
Where NVML shows GPUs serve starts and lists each of them
    [Tags]    B-PREFLIGHT-001
    Given a host with the driver library
    When the daemon is started
    Then the daemon still serves
    And /v2/devices lists GPU 0 and GPU 1 as the driver shows them

The inventory needs neither nvcc nor nvidia-smi
    [Tags]    B-PREFLIGHT-002
    Given a host with the driver library, and nvcc and nvidia-smi that claim 8 GPUs on PATH
    And the daemon is started
    And the inventory is noted
    Given a host with the driver library, and nothing on PATH
    When the daemon is started
    Then the inventory is the same

A driver library without any GPU is no GPU host, whatever is on PATH
    [Tags]    B-PREFLIGHT-003    B-PREFLIGHT-004    B-PREFLIGHT-013
    Given a host with the driver library, and nvcc and nvidia-smi that claim 8 GPUs on PATH    NVML_GPUS=0
    When the daemon is started in vain
    Then it exits with 1
    And it is refused with GPU_REQUIRED
    And the error names "the NVIDIA driver 580.1 is there, but it shows no GPU"


*** Keywords ***
Build The Driver's Stand-In
    ${compiler} =    Evaluate    shutil.which('gcc')
    Skip If    not $compiler    There is no gcc here to build the driver's stand-in with.
    Skip If    not os.path.exists($SOURCE)    The driver's stand-in (${SOURCE}) is not here.
    ${folder} =    Evaluate    tempfile.mkdtemp()
    ${built} =    Run Process    gcc    -shared    -fPIC    -Wl,-soname,libnvidia-ml.so.1
    ...    -o    ${folder}/libnvidia-ml.so.1    ${SOURCE}
    Should Be Equal As Integers    ${built.rc}    0    ${built.stderr}
    Create Directory    ${folder}/none
    FOR    ${name}    IN    nvcc    nvidia-smi
        Create File
        ...    ${folder}/tools/${name}
        ...    \#!/bin/sh\nfor n in 0 1 2 3 4 5 6 7; do echo "GPU $n: NVIDIA H100"; done\n
        Evaluate    os.chmod($folder + '/tools/${name}', 0o755)
    END
    VAR    ${DRIVER} =    ${folder}    scope=SUITE    # robocop: off=VAR05

A host with the driver library
    [Arguments]    &{environment}
    Set To Dictionary    ${environment}    LD_LIBRARY_PATH=${DRIVER}
    Prepare Daemon    devices.source=nvml    gpus=-1    environment=${environment}

A host with the driver library, and nvcc and nvidia-smi that claim 8 GPUs on PATH
    [Arguments]    &{environment}
    A host with the driver library    PATH=${DRIVER}/tools:%{PATH}    &{environment}

A host with the driver library, and nothing on PATH
    A host with the driver library    PATH=${DRIVER}/none

/v2/devices lists GPU 0 and GPU 1 as the driver shows them
    ${devices} =    Get Devices
    Length Should Be    ${devices}    2
    FOR    ${index}    ${device}    IN ENUMERATE    @{devices}
        Should Be Equal As Integers    ${device}[index]    ${index}
        Should Be Equal    ${device}[name]    Stand-in
        Should Be Equal    ${device}[uuid]    GPU-00000000-0000-0000-0000-00000000000${index}
        Should Be Equal As Integers    ${device}[memory_total_bytes]    1000
        Should Be Equal As Integers    ${device}[memory_free_bytes]    600
        Should Be Equal    ${device}[health]    ok
    END

The inventory is noted
    ${devices} =    Get Devices
    Length Should Be    ${devices}    2
    VAR    ${NOTED} =
    ...    ${{ [(one['index'], one['name'], one['uuid'], one['memory_total_bytes']) for one in $devices] }}
    ...    scope=TEST

The inventory is the same
    ${devices} =    Get Devices
    ${now} =    Evaluate    [(one['index'], one['name'], one['uuid'], one['memory_total_bytes']) for one in $devices]
    Should Be Equal    ${now}    ${NOTED}
