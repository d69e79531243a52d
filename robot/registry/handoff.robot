*** Settings ***
Documentation       What the handoff file tells and what the status tells is the same.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
The slots in the handoff files add up to those of the pool
    [Tags]    B-REG-103    B-REG-101    B-REG-102    OC-POOL-3020
    Given a ready pool    replicas=3    min_ready=3    slots=2
    Then the pool shows slots_total 6
    And the handoff files of the pool agree with its status

Slots that an engine reports otherwise stand in both
    [Tags]    B-REG-103    B-REG-101
    Given a ready pool whose engine claims 3 slots and reports version 9.9    slots=4
    Then the pool shows    slots_total 3    engine_version 9.9
    And the handoff files of the pool agree with its status

A pool of required keys only becomes Ready
    [Tags]    B-REG-107
    Given a daemon of its own
    And a GPU named only with 8 GiB
    And the config file says
    ...    [server]
    ...    http = "{http}"
    ...    grpc = "{grpc}"
    ...    state_dir = "{state}"
    ...    [devices]
    ...    source = "simulated"
    ...    simulated_dir = "{devices}"
    ...    [[pool]]
    ...    id = "plain"
    ...    engine = "simulated"
    ...    model = "models/small.gguf"
    When the daemon is started
    Then pool plain becomes ready with defaults


*** Keywords ***
Pool plain becomes ready with defaults
    [Documentation]    By itself, because preload is true by default. It is no pool of the scenario's, so that its id is its name.
    Wait For Event    within=5 s    kind=pool_ready    pool_id=plain
    ${uuid} =    Get Gpu Uuid    only
    Pool Should Show    plain    desired running    engine_version simulated-1    model models/small.gguf
    ...    slots_total 4    slots_free 4    device_mask ["${uuid}"]    last_error null    next_restart_at null
    ...    replicas.0.phase ready    replicas.1 null
    ${folder} =    Get Daemon    state_dir
    ${file} =    Evaluate    json.loads(pathlib.Path($folder, 'engines', 'plain-r0.json').read_text())    json, pathlib
    Should Be Equal    ${file}[engine_version]    simulated-1
    Should Be Equal    ${file}[slots]    ${4}
    Should Be Equal    ${file}[device_mask]    ${{ [$uuid] }}
    Should Match    ${file}[model][path]    */models/small.gguf
    Should Contain    ${{ ' '.join($file['flags']) }}    --slots 4 --context 4096
