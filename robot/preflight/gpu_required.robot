*** Settings ***
Documentation    Without a GPU there is no serving: `serve` says at once what is missing, and never falls back to the CPU.

Library          Collections
Library          DateTime
Library          OperatingSystem
Resource         PoolManagerResources/scenario.resource

Test Tags        preflight    OC-POOL-3012


*** Test Cases ***
Without the NVIDIA driver serve refuses to start
    [Tags]    B-PREFLIGHT-003    B-PREFLIGHT-012    B-PREFLIGHT-013
    Given a host without the NVIDIA driver
    When the daemon is started in vain
    Then it exits with 1
    And it is refused with GPU_REQUIRED
    And the error names "inference on the CPU is never used as a fallback"
    And the error names "the NVIDIA driver library (libnvidia-ml.so.1) was not found"
    And the hint says to "install the NVIDIA driver"

Where the driver shows no GPU serve refuses to start
    [Tags]    B-PREFLIGHT-003    B-PREFLIGHT-012    B-PREFLIGHT-013
    Given a daemon of its own    gpus=1
    And the driver shows no device
    When the daemon is started in vain
    Then it exits with 1
    And it is refused with GPU_REQUIRED
    And the error names "inference on the CPU is never used as a fallback"
    And the error names "shows no GPU"
    And the hint says to "check that the GPUs are seated"

Missing GPUs are reported within 2 s, and no engine is ever started
    [Tags]    B-PREFLIGHT-014
    Given a host without the NVIDIA driver
    And a pool that is loaded at the start and whose engine would leave a trace
    When the daemon is started in vain, and its waits for a CPU are measured
    Then it is refused with GPU_REQUIRED
    And it takes at most 2 s, its waits for a CPU aside
    And no engine has left a trace

The same host serves simulated devices if the config names them
    [Tags]    B-PREFLIGHT-003
    Given a host without the NVIDIA driver
    And the config names simulated devices
    When the daemon is started
    Then the daemon still serves
    And the devices are called simulated

Programs named nvcc and nvidia-smi do not make a GPU
    [Tags]    B-PREFLIGHT-004
    Given a host without the NVIDIA driver, but with nvcc and nvidia-smi that claim a GPU
    When the daemon is started in vain
    Then it exits with 1
    And it is refused with GPU_REQUIRED
    And neither nvcc nor nvidia-smi was run

Nothing but the config's source turns simulated devices on
    [Tags]    B-PREFLIGHT-019
    Given a host without the NVIDIA driver
    And a folder of simulated GPUs that config and environment name
    When the daemon is started in vain
    Then it exits with 1
    And it is refused with GPU_REQUIRED


*** Keywords ***
A host without the NVIDIA driver
    [Documentation]    Where this machine has the driver, an unusable file of its name hides it from the daemon.
    [Arguments]    &{environment}
    ${there} =    Evaluate    ctypes.util.find_library('nvidia-ml')    modules=ctypes.util
    IF    $there
        ${folder} =    Prepare Daemon
        Create File    ${folder}/hidden/libnvidia-ml.so.1
        Set To Dictionary    ${environment}    LD_LIBRARY_PATH=${folder}/hidden
    END
    ${folder} =    Prepare Daemon    devices.source=nvml    gpus=-1    environment=${environment}
    VAR    ${FOLDER} =    ${folder}    scope=TEST

The driver shows no device
    Set Driver Mode    no_devices

The hint says to "${text}"
    Error Should Name    hint:    "${text}"

A pool that is loaded at the start and whose engine would leave a trace
    ${program} =    Create Program    engine    text=\#!/bin/sh\necho started > "${FOLDER}/trace"\nsleep 60\n
    Define Pool    chat    binary=${program}    preload=True

No engine has left a trace
    File Should Not Exist    ${FOLDER}/trace
    ${pids} =    Get Engine Pids    chat
    Should Be Empty    ${pids}

It takes at most ${time}, its waits for a CPU aside
    [Documentation]    Others use this machine, too. A start that was too slow all the same is measured again, twice at most.
    ${limit} =    Convert Time    ${time}
    FOR    ${_}    IN RANGE    2
        ${took} =    The time that the start took by itself
        IF    ${took} <= ${limit}    BREAK
        The daemon is started in vain, and its waits for a CPU are measured
        It is refused with GPU_REQUIRED
    END
    ${took} =    The time that the start took by itself
    Should Be True    ${took} <= ${limit}    It took ${took} s.

The daemon is started in vain, and its waits for a CPU are measured
    Measure CPU Waits Of Daemon
    Try To Start Daemon    timeout=60 s

The time that the start took by itself
    ${took} =    Answer Time
    ${waited} =    Get CPU Wait Of Daemon
    RETURN    ${{ $took - $waited }}

The config names simulated devices
    Change Config    devices.source=simulated

The devices are called simulated
    Http Request    GET    /v2/devices
    Answer Field    source    ==    simulated

A host without the NVIDIA driver, but with nvcc and nvidia-smi that claim a GPU
    ${folder} =    Evaluate    tempfile.mkdtemp()
    FOR    ${name}    IN    nvcc    nvidia-smi
        Create File
        ...    ${folder}/${name}
        ...    \#!/bin/sh\necho run >> "${folder}/run"\necho "GPU 0: NVIDIA H100 (UUID: GPU-1)"\n
        Evaluate    os.chmod($folder + '/${name}', 0o755)
    END
    A host without the NVIDIA driver    PATH=${folder}:%{PATH}
    VAR    ${TOOLS} =    ${folder}    scope=TEST

Neither nvcc nor nvidia-smi was run
    File Should Not Exist    ${TOOLS}/run
    Remove Directory    ${TOOLS}    recursive=True

A folder of simulated GPUs that config and environment name
    Evaluate    pool_managerd.devices.simulated_folder.SimulatedFolder($FOLDER + '/devices').create(gpus=2)
    ...    modules=pool_managerd.devices.simulated_folder
    Change Config    devices.simulated_dir=devices
