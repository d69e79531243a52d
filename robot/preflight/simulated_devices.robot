*** Settings ***
Documentation    Simulated devices are never mistaken for real ones.

Resource         PoolManagerResources/scenario.resource

Test Tags        preflight


*** Test Cases ***
Simulated devices are called simulated in the log and on the dashboard
    [Tags]    B-PREFLIGHT-019    OC-POOL-3012
    Given a daemon of its own    gpus=1
    When the daemon is started
    Then the daemon logs    event=daemon    to=started    device_source=simulated    human=~SIMULATED devices
    And the dashboard calls them simulated

A folder that does not exist is made with two GPUs
    [Tags]    B-PREFLIGHT-026
    Given a daemon of its own    devices.source=simulated    devices.simulated_dir=not/there/yet    gpus=-1
    When the daemon is started
    Then /v2/devices lists two GPUs that the new folder describes


*** Keywords ***
The dashboard calls them simulated
    [Documentation]    The page has the word, shows it by the source of the devices, and is told that source. In a browser: `looks.robot`.
    Http Request    GET    /
    Answer Should Be    200
    ${page} =    Answer Text
    Should Match Regexp    ${page}    <[^>]*id="device-source"[^>]*>simulated<
    Http Request    GET    /assets/devices.js
    Answer Text    contains    source = byId("device-source")
    Answer Text    contains    source.hidden = list.source !== "simulated"
    Http Request    GET    /v2/devices
    Answer Field    source    ==    simulated

/v2/devices lists two GPUs that the new folder describes
    ${devices} =    Get Devices
    ${folder} =    Get Daemon    simulated_dir
    ${files} =    Evaluate    sorted(path.stem for path in pathlib.Path($folder, 'gpus').glob('*.json'))
    Length Should Be    ${files}    2
    ${uuids} =    Evaluate    sorted(device['uuid'] for device in $devices)
    Should Be Equal    ${uuids}    ${files}
    Should Be Equal    ${{ [device['index'] for device in $devices] }}    ${{ [0, 1] }}
