*** Settings ***
Documentation    Where the driver's pids cannot be matched with ours, an empty list proves nothing: each device's used memory decides.

Resource         PoolManagerResources/scenario.resource

Test Tags        preflight    OC-POOL-3012


*** Test Cases ***
Where pids are of another namespace each device's used memory decides
    [Tags]    B-PREFLIGHT-024
    Given a daemon of its own
    And the driver shows processes of another namespace
    Then a resident engine becomes Ready and others fail, judged by device

Where pids carry no bytes each device's used memory decides
    [Tags]    B-PREFLIGHT-024
    Given a daemon of its own
    And the driver shows processes without their bytes
    Then a resident engine becomes Ready and others fail, judged by device

Serve refuses to start where residency by process is required and cannot be had
    [Tags]    B-PREFLIGHT-025
    Given a daemon of its own    gpus=1    devices.require_process_residency=true
    And the driver shows processes of another namespace
    When the daemon is started in vain
    Then it exits with 1
    And the answer names require_process_residency
    And the answer names can't be matched

Serve starts where residency by process is required and can be had
    [Tags]    B-PREFLIGHT-025
    Given a daemon of its own    gpus=1    devices.require_process_residency=true
    When the daemon is started
    Then the daemon still serves


*** Keywords ***
A resident engine becomes Ready and others fail, judged by device
    Two GPUs and three engines
    Start Daemon
    Get Device Field    first    residency    ==    device
    Get Device Field    second    residency    ==    device
    Preload Pool    resident
    Pool Should Become    resident    ready    within=5 s
    It should fail, for it left GPU second empty    half
    It should fail, for it left GPU second empty    empty
    The daemon has said once that it judges by device
    Pool Should Show    resident    ready true

Two GPUs and three engines
    [Documentation]    One that is resident on both, one that is on the first only, and one that is on none.
    Define GPU    first    8 GiB
    Define GPU    second    8 GiB
    ${first} =    Get GPU Uuid    first
    Define Pool    resident    gpu=first+second    tensor_split=[1, 1]    vram_bytes=4 GiB    share_devices=true
    Define Pool    half    gpu=first+second    tensor_split=[1, 1]    vram_bytes=4 GiB    share_devices=true
    ...    simulated.vram_bytes=${0}    simulated.wrong_device=${first}    simulated.wrong_device_bytes=4 GiB
    Define Pool    empty    holds no GPU memory    gpu=second    vram_bytes=1 GiB    share_devices=true

It should fail, for it left GPU ${gpu} empty
    [Arguments]    ${pool}
    Preload Pool    ${pool}
    Load Should Fail    ${pool}    CPU_SPILLOVER    within=5 s
    Last Error Should Be    ${pool}    CPU_SPILLOVER
    Error Should Name    GPU ${gpu}
    Pool Should Become    ${pool}    in phase failed    within=5 s
    Phase Should Never Be    ${pool}    ready

The daemon has said once that it judges by device
    ${said} =    Get Daemon Log    event=device    to=residency_device
    Length Should Be    ${said}    1
    Should Contain    ${said}[0][reason]    can't be matched
