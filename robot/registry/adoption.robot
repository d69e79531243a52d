*** Settings ***
Documentation       A daemon that comes back finds its engines and their specs as they were.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
After a kill every engine is adopted, and nothing has changed
    [Tags]    B-REG-044
    Given a daemon of its own
    And engines of many kinds of config
    And the status of every pool is noted
    And the pids of all engines are noted
    When the daemon is killed and started again
    Then every engine has been adopted
    When a dry run of the config reload is made
    Then the reload reports every pool as unchanged
    When the config is reloaded
    Then the reload reports every pool as unchanged
    And every engine has been adopted

A daemon that leaves its engines finds them again
    [Tags]    B-REG-044
    Given a daemon of its own    server.on_shutdown=leave
    And engines of many kinds of config
    And the status of every pool is noted
    And the pids of all engines are noted
    When the daemon is stopped and started again
    Then every engine has been adopted
    When a dry run of the config reload is made
    Then the reload reports every pool as unchanged


*** Keywords ***
Engines of many kinds of config
    [Documentation]    A plain one, one on two GPUs with arguments and environment, two replicas, and one that was reloaded.
    Given a model file other.gguf
    And a ready pool named plain
    And a GPU named big with 8 GiB
    And a GPU named small with 4 GiB
    And a pool named wide    gpu=big+small    tensor_split=[3, 1]    vram_bytes=4 GiB    simulated.vram_bytes=4 GiB
    ...    args=["--flash-attn"]    env={"A": "b c"}    slots=7    context=2048    engine_version="7.7"
    And a pool named twice    replicas=2    min_ready=2
    And a pool named moved
    And every pool has been preloaded
    And a caller waits 5 s for the reload of pool moved to other.gguf

The pids of all engines are noted
    [Documentation]    Of each replica.
    FOR    ${engine}    IN    plain/r0    wide/r0    twice/r0    twice/r1    moved/r0
        Remember Engine    ${engine}
    END

Every engine has been adopted
    [Documentation]    The same processes, and the same status but for the word "adopted" and the time since when.
    Wait Until Pool Is Ready    every pool    5 s
    FOR    ${engine}    IN    plain/r0    wide/r0    twice/r0    twice/r1    moved/r0
        Engine Should Be The Same    ${engine}
        Get Replica Field    ${engine}    adopted    ==    ${True}
        Get Replica Field    ${engine}    restart_count    ==    0
    END
    The status of every pool is as noted but for replicas.adopted and replicas.since
    FOR    ${pool}    IN    plain    wide    twice    moved
        Handoff Should Agree With Status    ${pool}
    END
