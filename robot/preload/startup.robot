*** Settings ***
Documentation       What `serve` loads by itself, and what it makes in its state directory.
Resource            PoolManagerResources/scenario.resource
Test Tags           preload


*** Test Cases ***
Pools marked preload are loaded when the daemon starts, unless they are drained, and no others
    [Tags]    B-PRELOAD-006    OC-POOL-3001
    Given a daemon of its own
    And these pools
    ...    name | preload | load_ms
    ...    chat | true | 50 ms
    ...    gone | true | -
    ...    lazy | false | -
    When the daemon is started
    Then pool chat becomes ready within 20 s
    And pool gone becomes ready within 20 s
    And pool chat was loaded by serve, and by no caller
    And pool lazy has never left phase stopped
    When a caller waits 5 s for the drain of pool gone
    And the daemon is stopped and started again
    Then pool chat becomes ready within 20 s
    And pool gone is in phase stopped
    And pool gone shows desired stopped
    And no engine process of pool gone was started
    And no engine process of pool lazy was started
    And pool lazy has never left phase stopped

A pool that cannot load stops neither the daemon nor the other pools
    [Tags]    B-PRELOAD-007    OC-POOL-3001    OC-POOL-3002
    Given a daemon of its own
    And these pools
    ...    name | preload | needs | model | behaviour
    ...    alpha | true | - | - | -
    ...    huge | true | 100 GiB | - | -
    ...    lost | true | - | models/nowhere.gguf | -
    ...    weak | true | - | - | exits with code 3
    ...    omega | true | - | - | -
    When the daemon is started
    Then pool alpha becomes ready within 20 s
    And pool omega becomes ready within 20 s
    And the last error of pool huge is INSUFFICIENT_VRAM
    And the last error of pool lost is MODEL_NOT_FOUND
    And the last error of pool weak is ENGINE_EXITED within 10 s
    And the daemon still serves

The first preload makes the state directory and its folder for the daemon's user only
    [Tags]    B-PRELOAD-008
    Given a daemon of its own    server.state_dir=not/yet/there
    And the daemon's folder has no "not"
    And a pool
    And the daemon is started
    And somebody removes the folder of handoff files
    When a caller waits 5 s for the preload of the pool
    Then it answers 200
    And "not/yet/there" in the daemon's folder is open to its user only
    And "not/yet/there/engines" in the daemon's folder is open to its user only
    And the handoff file of the engine exists


*** Keywords ***
Pool ${name} was loaded by serve, and by no caller
    ${started} =    Get Events    ${name}    kind=preload    to=started
    Length Should Be    ${started}    1
    Should Be Equal    ${started}[0][details][trigger]    serve
    Should Be Equal    ${started}[0][correlation_id]    ${None}

Pool ${name} has never left phase stopped
    ${phases} =    Get Phases    ${name}
    Should Be Empty    ${phases}
    Pool Should Show    ${name}    phase stopped    live false    ready false

The daemon's folder has no "${name}"
    ${folder} =    Get Daemon    folder
    Should Not Be True    os.path.exists($folder + '/' + $name)

"${name}" in the daemon's folder is open to its user only
    ${folder} =    Get Daemon    folder
    Get File Mode    ${folder}/${name}    ==    700
    Should Be Equal As Integers    ${{ os.stat($folder + '/' + $name).st_uid }}    ${{ os.geteuid() }}

Somebody removes the folder of handoff files
    ${folder} =    Get Daemon    state_dir
    VAR    ${engines} =    ${folder}/engines
    IF    os.path.exists($engines)    Evaluate    shutil.rmtree($engines)
    Begin Act    the folder of handoff files is removed
