*** Settings ***
Documentation    What an engine prints is found in its log file at once, belongs to the daemon's user alone, and outlives restarts.

Resource         PoolManagerResources/scenario.resource

Test Tags        process


*** Test Cases ***
What a started engine prints is found once the preload has been accepted
    [Tags]    B-API-014    OC-POOL-3030
    Given a pool whose engine logs "hello from the engine" while loading
    When the pool is preloaded
    Then it answers 202
    And the log of the engine has "hello from the engine" within 1 s
    And the pool log file of the engine leads to the log of the first replica

With several replicas the pool's log leads to the first one's
    [Tags]    B-API-014    OC-POOL-3030
    Given a pool whose engine logs "hello from a replica" while loading    replicas=2    min_ready=2
    When the pool is preloaded
    Then it answers 202
    And the log of engine r0 has "hello from a replica" within 1 s
    And the log of engine r1 has "hello from a replica" within 1 s
    And the pool log file of the engine leads to the log of the first replica

What a running engine writes is in its log within 1 s
    [Tags]    B-PROC-003    B-PROC-004
    Given a ready pool
    When the engine logs "a line to stdout" to stdout
    Then the log of the engine has "a line to stdout" within 1 s
    When the engine logs "a line to stderr" to stderr
    Then the log of the engine has "a line to stderr" within 1 s
    And both lines stand whole in the same file    a line to stdout    a line to stderr

The log lies in the state directory and is the daemon's user's alone
    [Tags]    B-PROC-005
    Given a ready pool
    Then the log of the engine is a plain file in the state directory
    And only the daemon's user can read or write it

A log that others could read is closed to them at the next start
    [Tags]    B-PROC-005
    Given a ready pool
    And the pool is stopped
    And everybody may read the log of the engine
    When a caller waits 5 s for the preload of the pool
    Then it answers 200
    And only the daemon's user can read or write it

A restart adds to the log and keeps the lines of the run before
    [Tags]    B-PROC-006
    Given a ready pool whose engine logs "a run begins" while loading
    ...    restart.initial_ms=50 ms
    ...    restart.floor_ms=50 ms
    And the engine logs "before the crash"
    And the log of the engine has "before the crash" within 1 s
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the pool becomes ready within 3 s
    And the log has these lines in this order    a run begins    before the crash    a run begins
    When the pool is stopped
    And a caller waits 5 s for the preload of the pool
    Then it answers 200
    And the log has these lines in this order    a run begins    before the crash    a run begins    a run begins


*** Keywords ***
The pool log file of the engine leads to the log of the first replica
    ${pool_log} =    Get State Path    pool log
    ${log} =    Get State Path    log    engine r0
    Should Be Equal    ${{ os.path.realpath($pool_log) }}    ${{ os.path.realpath($log) }}

Both lines stand whole in the same file
    [Arguments]    @{lines}
    ${text} =    Get Engine Log
    FOR    ${line}    IN    @{lines}
        Should Contain    ${text.splitlines()}    ${line}
    END

The log of the engine is a plain file in the state directory
    ${id} =    Get Pool Id
    ${folder} =    Get Daemon    state_dir
    VAR    ${path} =    ${folder}/engine-${id}-r0.log
    Should Be True    os.path.isfile($path) and not os.path.islink($path)    ${path} should be a plain file.

Only the daemon's user can read or write it
    ${path} =    Get State Path    log
    Get File Mode    ${path}    ==    600
    ${pid} =    Get Daemon    pid
    Should Be True    os.stat($path).st_uid == os.stat('/proc/${pid}').st_uid

Everybody may read the log of the engine
    ${path} =    Get State Path    log
    Evaluate    os.chmod($path, 0o644)

The log has these lines in this order
    [Arguments]    @{lines}
    ${text} =    Get Engine Log
    ${seen} =    Evaluate    [line for line in $text.splitlines() if line in ('a run begins', 'before the crash')]
    Should Be Equal    ${seen}    ${lines}
