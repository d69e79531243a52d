*** Settings ***
Documentation    Who runs is written down: one pid file per replica and one per pool, next to a log, a port and a handoff file of its own.

Library          Collections
Resource         PoolManagerResources/scenario.resource

Test Tags        process


*** Test Cases ***
An accepted preload leaves pid files, and each pool has its own
    [Tags]    B-API-015
    Given a pool named chat whose engine never becomes ready
    And a pool named code whose engine never becomes ready
    When both pools are preloaded
    Then it answers 202
    And the pid file of the engine of pool chat exists
    And the pool pid file of the engine of pool chat exists
    And the pid file of the engine of pool code exists
    And the pool pid file of the engine of pool code exists
    And the two pools' pid files have different pids

The pid in the file is the pid in the status
    [Tags]    B-PROC-021
    Given a ready pool    replicas=2    min_ready=2
    Then the pid file of engine r0 names the pid in the status
    And the pid file of engine r1 names the pid in the status
    And the pool's pid file names its first replica

The pid file follows a restart
    [Tags]    B-PROC-021
    Given a ready pool    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And the pid of the engine is noted
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the pool becomes ready within 3 s
    And the engine is another process
    And the pid file of engine r0 names the pid in the status
    And the pool's pid file names its first replica

A pid file holds the decimal pid and at most one newline
    [Tags]    B-PROC-022
    Given a ready pool    replicas=2    min_ready=2
    Then the pid files of engine r0 and engine r1 and of the pool hold nothing but a number

Each replica has a process, a port, a log, a pid file and a handoff file of its own
    [Tags]    B-PROC-023
    Given a ready pool    replicas=3    min_ready=3
    Then the replicas r0, r1 and r2 are shown with different pids and ports
    And each replica has a log file, a pid file and a handoff file of its own
    And each handoff file has the pid and the URL that the status shows


*** Keywords ***
Both pools are preloaded
    Preload Pool    both pools

The two pools' pid files have different pids
    ${chat} =    Get Pid File    chat
    ${code} =    Get Pid File    code
    Should Not Be Equal As Integers    ${chat}    ${code}
    FOR    ${pool}    IN    chat    code
        ${pid} =    Get Pid File    ${pool}
        ${of_pool} =    Get Pid File    ${pool}    of_pool=True
        Should Be Equal As Integers    ${pid}    ${of_pool}
        Process Should Live    ${{ int($pid) }}
    END

The pid file of ${engine} names the pid in the status
    ${pid} =    Get Engine Pid    ${engine}
    ${text} =    Get Pid File    ${engine}
    Should Be Equal As Integers    ${text}    ${pid}

The pool's pid file names its first replica
    ${pid} =    Get Engine Pid    r0
    ${text} =    Get Pid File    of_pool=True
    Should Be Equal As Integers    ${text}    ${pid}

The pid files of ${first} and ${second} and of the pool hold nothing but a number
    FOR    ${engine}    IN    ${first}    ${second}
        ${text} =    Get Pid File    ${engine}
        Should Match Regexp    ${text}    \\A[1-9][0-9]*\\n?\\Z
    END
    ${text} =    Get Pid File    of_pool=True
    Should Match Regexp    ${text}    \\A[1-9][0-9]*\\n?\\Z

The replicas r0, r1 and r2 are shown with different pids and ports
    ${status} =    Get Pool
    VAR    ${replicas} =    ${status}[replicas]
    Should Be Equal    ${{ [one['replica_id'] for one in $replicas] }}    ${{ ['r0', 'r1', 'r2'] }}
    Length Should Be    ${{ {one['pid'] for one in $replicas} }}    3
    Length Should Be    ${{ {one['url'] for one in $replicas} }}    3
    FOR    ${replica}    IN    @{replicas}
        Process Should Live    ${replica}[pid]
        Command Line Should Have    ${replica}[replica_id]    --port    ${{ $replica['url'].rpartition(':')[2] }}
    END

Each replica has a log file, a pid file and a handoff file of its own
    FOR    ${kind}    IN    log    pid    handoff
        VAR    @{files} =    @{EMPTY}
        FOR    ${replica}    IN    r0    r1    r2
            ${path} =    State File Should Exist    ${kind}    ${replica}
            ${stat} =    Evaluate    os.stat($path).st_ino
            Append To List    ${files}    ${stat}
        END
        Length Should Be    ${{ set($files) }}    3
    END

Each handoff file has the pid and the URL that the status shows
    ${status} =    Get Pool
    FOR    ${replica}    IN    @{status}[replicas]
        Get Handoff    pid    ==    ${replica}[pid]    ${replica}[replica_id]
        Get Handoff    url    ==    ${replica}[url]    ${replica}[replica_id]
        ${text} =    Get Pid File    ${replica}[replica_id]
        Should Be Equal As Integers    ${text}    ${replica}[pid]
    END
