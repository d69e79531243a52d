*** Settings ***
Documentation       Whenever the daemon is killed in the course of a preload, the next one makes it whole.
Resource            PoolManagerResources/scenario.resource
Test Tags           persistence


*** Test Cases ***
A preload that the daemon does not live to see ends well all the same
    [Documentation]    Killed right after each step of it, over and over.
    [Tags]    B-PERSIST-012    OC-POOL-3001
    Given a daemon of its own
    And a pool whose engine needs 300 ms to load    replicas=2    min_ready=2
    ...    restart.initial_ms=50 ms    restart.floor_ms=50 ms    breaker.failures=100
    Then a kill at the event preflight is made good
    And a kill at the event starting is made good
    And a kill at the event loading is made good
    And a kill at the pid file is made good
    And a kill at the handoff file is made good
    And a kill at the event ready is made good


*** Keywords ***
A kill at the ${moment} is made good
    [Documentation]    Ready in the end; an attempt that was lost is counted, explained and left nothing behind.
    Preload Pool
    Start Counting Processes
    Kill Daemon At    ${moment}
    Start Daemon
    Wait Until Pool Is Ready    the pool    10 s
    What Was Lost Was Explained And Counted
    No Replica Should Have Had Two
    Each Replica Has The Process That Its Files Name
    Stop Pool

Each Replica Has The Process That Its Files Name
    [Documentation]    One process each: pid file, handoff file and status agree.
    FOR    ${replica}    IN    r0    r1
        ${pid} =    Get Engine Pid    ${replica}
        ${text} =    Get Pid File    ${replica}
        Should Be Equal As Integers    ${text}    ${pid}
    END
    Engine Process Count    the pool    ==    2
    Handoff Should Agree With Status

What Was Lost Was Explained And Counted
    [Documentation]    Each failed attempt has its code, and was restarted once; there is no restart without a failure.
    FOR    ${replica}    IN    r0    r1
        ${failed} =    Get Events    the pool    since_act=True    kind=phase    code=~.    replica_id=${replica}
        ${restarted} =    Get Events    the pool    since_act=True    kind=phase    details.restart=True    replica_id=${replica}
        Should Be Equal    ${{ [one['code'] for one in $failed] }}    ${{ ['ENGINE_EXITED'] * len($restarted) }}
        Should Be True    len($failed) <= 1
    END
