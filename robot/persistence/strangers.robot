*** Settings ***
Documentation       A pid alone proves nothing: whoever has it now is left alone unless it is that very engine.
Resource            PoolManagerResources/scenario.resource
Test Tags           persistence


*** Test Cases ***
A pid that belongs to another process by now is neither adopted nor signalled
    [Tags]    B-PERSIST-004    B-PERSIST-016
    Given a daemon of its own
    And these ready pools    name | restart.initial_ms | restart.floor_ms
    ...    pid | 50 ms | 50 ms
    ...    ticks | 50 ms | 50 ms
    ...    digest | 50 ms | 50 ms
    ...    boot | 50 ms | 50 ms
    And a stranger for each of them
    And the daemon is killed
    And every engine has ended
    When the written pid of the engine of pool pid is that of stranger pid
    And the written pid of the engine of pool ticks is that of stranger ticks    start_ticks
    And the written pid of the engine of pool digest is that of stranger digest    spec_digest
    And the written pid of the engine of pool boot is that of stranger boot    start_ticks    spec_digest
    ...    boot=00000000-0000-4000-8000-000000000000
    And the daemon is started
    Then every pool becomes ready within 40 s
    And every pool was started anew, and nothing was adopted
    And no stranger was touched

A handoff file alone is judged just as strictly
    [Documentation]    Its store is lost, so that the handoff file is all that tells of an engine.
    [Tags]    B-PERSIST-004    B-PERSIST-013    B-PERSIST-016
    Given a daemon of its own
    And these ready pools    name | restart.initial_ms | restart.floor_ms
    ...    pid | 50 ms | 50 ms
    ...    ticks | 50 ms | 50 ms
    ...    digest | 50 ms | 50 ms
    ...    boot | 50 ms | 50 ms
    And a stranger for each of them
    And the daemon is killed
    And every engine has ended
    When the written pid of the engine of pool pid is that of stranger pid
    And the written pid of the engine of pool ticks is that of stranger ticks    start_ticks
    And the written pid of the engine of pool digest is that of stranger digest    spec_digest
    And the written pid of the engine of pool boot is that of stranger boot    start_ticks    spec_digest
    ...    boot=00000000-0000-4000-8000-000000000000
    And the state database has become text
    And the daemon is started
    And every pool is preloaded
    Then every pool becomes ready within 40 s
    And every pool was started anew, and nothing was adopted
    And no stranger was touched


*** Keywords ***
A stranger for each of them
    FOR    ${name}    IN    pid    ticks    digest    boot
        Start Stranger    ${name}
    END

Every engine has ended
    [Documentation]    Killed while no daemon runs.
    FOR    ${name}    IN    pid    ticks    digest    boot
        ${pid} =    Get Pid File    ${name}
        Evaluate    os.kill(int($pid), signal.SIGKILL)    modules=os, signal
        Process Should Be Gone    ${{ int($pid) }}    zombie_allowed=True
    END

Every pool was started anew, and nothing was adopted
    FOR    ${name}    IN    pid    ticks    digest    boot
        Get Event Count    ${name}    equals    0    kind=adopted
        Get Replica Field    ${name}/r0    adopted    ==    ${False}
        Engine Process Count    ${name}    ==    1
    END

No stranger was touched
    FOR    ${name}    IN    pid    ticks    digest    boot
        Stranger Should Be Untouched    ${name}
    END
