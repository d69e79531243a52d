*** Settings ***
Documentation    A stop asks first, waits as long as it was told to, then kills; it ends what stands in the pid file and nothing else.

Library          Collections
Resource         PoolManagerResources/scenario.resource

Test Tags        process


*** Test Cases ***
A stop ends the process in the pid file, and no process of another pool
    [Tags]    B-PROC-010
    Given 2 ready pools    replicas=2    min_ready=2
    And the pids in all pid files are noted
    When pool p1 is stopped
    Then it is accepted
    And the processes noted for pool p1 are gone
    And the processes noted for pool p2 live and are still what the status shows
    And pool p2 stays ready for 200 ms

The stop of one replica touches no process of another replica
    [Tags]    B-PROC-010
    Given a ready pool    replicas=2    restart.initial_ms=10 s    restart.max_ms=10 s
    And the pool shows    replicas.0.ready true    replicas.1.ready true    within=5 s
    And the pid of engine r0 is noted
    And the pids in all pid files are noted
    When engine r1 reports a CUDA error
    Then an event of kind phase comes within 2 s    replica_id=r1    from=stopping
    And the process noted for replica r1 is gone
    And engine r0 is still the same process
    And the pool is ready

An engine that handles SIGTERM ends with its own exit code
    [Tags]    B-PROC-011
    Given a ready pool whose engine ends with code 7 on SIGTERM
    When the pool is stopped
    Then it is accepted
    And an event of kind phase comes within 1 s    to=stopped
    And the event's details.forced is false
    And the event's details.exit_code is 7
    And the event's details.signal is null
    And the log of the engine has "cleaning up before exit" within 0 s

An engine that needs 3 s to end is left those 3 s by default
    [Tags]    B-PROC-012
    Given a ready pool whose engine needs 3 s to stop and ends with code 3 on SIGTERM
    When the pool is stopped
    Then it is accepted
    And it takes at least 3 s
    And an event of kind phase comes within 5 s    to=stopped
    And the event's details.forced is false
    And the event's details.exit_code is 3

The grace time is 5 s unless it is configured
    [Tags]    B-PROC-012
    Given a running daemon
    When the operator runs pool-managerd example-config
    Then it exits with 0
    And the example config has the grace time 5000

A configured grace time counts
    [Tags]    B-PROC-012
    Given a ready pool whose engine needs 3 s to stop    stop.grace_ms=300 ms
    When the pool is stopped
    Then it is accepted
    And the engine was killed after 300 ms, and not 1.5 s later

An engine that ignores SIGTERM is killed when the grace time is over, and the event says so
    [Tags]    B-PROC-013
    Given a ready pool whose engine ignores SIGTERM    stop.grace_ms=250 ms
    And the pid of the engine is noted
    When the pool is stopped
    Then it is accepted
    And the log of the engine has "SIGTERM is ignored" within 0 s
    And the engine was killed after 250 ms, and not 1.5 s later
    And the noted process of the engine is gone within 1 s

After a stop neither pid file nor handoff file exists
    [Tags]    B-PROC-014
    Given a ready pool    replicas=2    min_ready=2
    And the handoff file of engine r1 exists
    And the pool pid file of engine r0 exists
    When the pool is stopped
    Then it is accepted
    And all pid and handoff files of the pool are gone

After a stop by force neither pid file nor handoff file exists
    [Tags]    B-PROC-014
    Given a ready pool whose engine ignores SIGTERM    stop.grace_ms=50 ms
    When the pool is stopped
    Then it is accepted
    And all pid and handoff files of the pool are gone

Stopping what does not run succeeds, and touches nobody, whatever a stale pid file says
    [Tags]    B-PROC-015
    Given a pool
    And a stale pid file of the pool names a bystander
    When the pool is stopped
    Then it answers 200
    And the answer's outcome is drained
    And the answer's note is nothing was running
    And the bystander has got no signal


*** Keywords ***
The pids in all pid files are noted
    VAR    &{noted} =    &{EMPTY}
    ${folder} =    Get Daemon    state_dir
    ${paths} =    Evaluate    list(pathlib.Path($folder).glob('*-r[0-9].pid'))
    FOR    ${path}    IN    @{paths}
        Set To Dictionary    ${noted}    ${path.stem}    ${{ int($path.read_text()) }}
    END
    VAR    ${NOTED_PIDS} =    ${noted}    scope=TEST

The processes noted for pool ${name} are gone
    ${id} =    Get Pool Id    ${name}
    Process Should Be Gone    ${NOTED_PIDS}[${id}-r0]
    Process Should Be Gone    ${NOTED_PIDS}[${id}-r1]

The process noted for replica ${replica} is gone
    ${id} =    Get Pool Id
    Process Should Be Gone    ${NOTED_PIDS}[${id}-${replica}]

The processes noted for pool ${name} live and are still what the status shows
    ${id} =    Get Pool Id    ${name}
    FOR    ${replica}    IN    r0    r1
        Process Should Live    ${NOTED_PIDS}[${id}-${replica}]
        Get Engine Pid    ${name}/${replica}    ==    ${NOTED_PIDS}[${id}-${replica}]
    END

The example config has the grace time ${milliseconds}
    ${text} =    Command Output
    ${found} =    Evaluate    set(re.findall(r'grace_ms *= *(\\d+)', $text))
    Should Be Equal    ${found}    ${{ {$milliseconds} }}

The engine was killed after ${grace}, and not ${more} later
    Wait For Event    the pool    within=5 s    kind=phase    to=stopped
    Get Event    details.forced    ==    ${True}
    Get Event    details.signal    ==    SIGKILL
    Time Between Phases    stopping    stopped    >=    ${grace}
    Time Between Phases
    ...    stopping
    ...    stopped
    ...    <
    ...    ${{ robot.utils.timestr_to_secs($grace) + robot.utils.timestr_to_secs($more) }}

All pid and handoff files of the pool are gone
    No Files Of Pool Should Be Left    the pool
    ${folder} =    Get Daemon    state_dir
    ${id} =    Get Pool Id
    ${left} =    Evaluate
    ...    [str(path) for path in pathlib.Path($folder).rglob('*${id}*') if path.suffix in ('.pid', '.json')]
    Should Be Empty    ${left}

A stale pid file of the pool names a bystander
    [Documentation]    A program that would end, as most do, if any signal hit it.
    ${port} =    Occupy Port
    ${pid} =    Get Listener Pid    ${port}
    ${id} =    Get Pool Id
    ${folder} =    Get Daemon    state_dir
    FOR    ${name}    IN    ${id}.pid    ${id}-r0.pid
        Evaluate    pathlib.Path($folder, $name).write_text('${pid}\\n')
    END
    VAR    ${BYSTANDER} =    ${pid}    scope=TEST
    VAR    ${STALE} =    ${folder}/${id}    scope=TEST

The bystander has got no signal
    Process Should Live    ${BYSTANDER}
    FOR    ${file}    IN    ${STALE}.pid    ${STALE}-r0.pid
        Evaluate    pathlib.Path($file).unlink(missing_ok=True)
    END
