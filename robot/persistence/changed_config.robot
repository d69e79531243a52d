*** Settings ***
Documentation       What the config says when the daemon comes back is what runs then.
Resource            PoolManagerResources/scenario.resource
Test Tags           persistence


*** Test Cases ***
A config that changed while no daemon ran is carried out at its start
    [Tags]    B-PERSIST-007    B-PERSIST-008
    Given a daemon of its own
    And a model file other.gguf
    And a ready pool named kept
    And a ready pool named moved
    And a ready pool named changed
    And a ready pool named both    slots=2
    And a ready pool named gone
    And a caller waits 5 s for the reload of pool moved to other.gguf
    And a caller waits 5 s for the reload of pool both to other.gguf
    And the engines are noted
    And orphans are reaped at once
    And the daemon is killed
    When pool changed is changed in the config    slots=7
    And pool both is changed in the config    slots=7
    And pool gone is removed from the config
    And the daemon is started
    Then the engine of pool kept was adopted
    And the engine of pool moved was adopted
    And pool moved shows model other.gguf
    And the engine of pool changed was replaced, with 7 slots on models/small.gguf
    And the engine of pool both was replaced, with 7 slots on other.gguf
    And nothing of pool gone is left but its log


*** Keywords ***
The engines are noted
    FOR    ${name}    IN    kept    moved    changed    both    gone
        Remember Engine    ${name}/r0
    END

The engine of pool ${name} was replaced, with ${slots} slots on ${model}
    [Documentation]    Never adopted as it was, and nothing of it counted as a failure.
    Wait Until Pool Is Ready    ${name}
    Engine Should Be Another    ${name}/r0
    Get Event Count    ${name}    equals    0    kind=adopted
    Pool Should Show    ${name}    slots_total ${slots}    model ${model}    restart_count 0    breaker.failures 0
    Command Line Should Have    ${name}/r0    --slots    ${slots}
    Engine Process Count    ${name}    ==    1

Nothing of pool ${name} is left but its log
    Remembered Engine Should Be Gone    ${name}/r0    within=5 s
    No Files Of Pool Should Be Left    ${name}    within=1 s
    State File Should Not Exist    pool log    ${name}/r0    within=1 s
    State File Should Not Exist    work/{pool}-{replica}    ${name}/r0    within=1 s
    State File Should Exist    log    ${name}/r0
    Ask For Status    ${name}
    Answer Should Be    404    POOL_NOT_FOUND
