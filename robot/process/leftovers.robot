*** Settings ***
Documentation    Nothing that an engine started outlives it: not in its group, not in a session of its own, not as a zombie.

Resource         PoolManagerResources/scenario.resource

Test Tags        process


*** Test Cases ***
SIGKILL reaches the whole process group
    [Tags]    B-PROC-016
    Given a ready pool whose engine ignores SIGTERM and starts a child    stop.grace_ms=100 ms
    And the engine's child is noted, in its process group
    When the pool is stopped
    Then it is accepted
    And an event of kind phase comes within 2 s    to=stopped
    And the event's details.forced is true
    And the engine's child is gone
    And no process of the pool is left within 0 s

A child of an engine that ended by itself is ended, too
    [Tags]    B-PROC-016
    Given a ready pool whose engine starts a child
    And the engine's child is noted, in its process group
    When the pool is stopped
    Then it is accepted
    And the engine's child is gone
    And no process of the pool is left within 0 s

What a crashed engine leaves behind is ended before the next start
    [Tags]    B-PROC-017
    Given a ready pool whose engine starts a child    restart.initial_ms=300 ms    restart.floor_ms=100 ms
    And the engine's child is noted, in its process group
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the pool becomes ready within 5 s
    And the engine's child had ended before the next start

A descendant that left group and session is ended with the engine at a stop
    [Tags]    B-PROC-029
    Given a ready pool    simulated.child=orphan
    And the engine's child is noted, in a session of its own and with no parent left
    When the pool is stopped
    Then it is accepted
    And the engine's child is gone
    And no process of the pool is left within 0 s

A descendant that left group and session is ended before the next start
    [Tags]    B-PROC-029
    Given a ready pool    simulated.child=orphan    restart.initial_ms=300 ms    restart.floor_ms=100 ms
    And the engine's child is noted, in a session of its own and with no parent left
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the pool becomes ready within 5 s
    And the engine's child had ended before the next start

A descendant that left session, parent and environment is ended with the engine, where each has a control group
    [Documentation]    Nothing but the group tells whose it was.
    [Tags]    B-PROC-029
    Given a ready pool    simulated.child=stray
    And the engine has a control group, with a stray in it
    When the pool is stopped
    Then it is accepted
    And the engine's child is gone

No zombie of an engine is left, however it ended
    [Tags]    B-PROC-024
    [Template]    An engine that ${ends} leaves no zombie
    is killed
    dies of SIGSEGV
    exits with code 3
    exits with code 0
    is stopped

An adopted engine is nobody's child here, and its end is noticed all the same
    [Tags]    B-PROC-024
    Given a daemon of its own
    And a ready pool    restart.initial_ms=10 s    restart.max_ms=10 s
    And the pid of the engine is noted
    When the daemon is killed and started again
    Then the pool becomes ready within 5 s
    And the engine is still the same process
    And the pool shows replicas.0.adopted true
    And the engine is not the daemon's child
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the daemon itself has no zombie


*** Keywords ***
The engine's child is noted, in its process group
    ${main} =    Get Engine Pid
    ${children} =    Get Engine Children
    Get Process    ${children}[0]    group    ==    ${main}
    Watch Ends Of Processes    @{children}
    VAR    @{CHILDREN} =    @{children}    scope=TEST

The engine's child is noted, in a session of its own and with no parent left
    ${main} =    Get Engine Pid
    ${children} =    Get Engine Children
    Wait Until Keyword Succeeds    2 s    20 ms    Get Process    ${children}[0]    session    ==    ${children}[0]
    Get Process    ${children}[0]    group    !=    ${main}
    Get Process    ${children}[0]    parent    !=    ${main}
    Watch Ends Of Processes    @{children}
    VAR    @{CHILDREN} =    @{children}    scope=TEST

The engine has a control group, with a stray in it
    [Documentation]    The daemon makes one where it may write its own (v2): as root, or as a service with Delegate=yes.
    ${engine} =    Get Engine Pid
    ${group} =    Evaluate    pathlib.Path('/proc/${engine}/cgroup').read_text().splitlines()[-1]
    Skip If    '/pool-managerd.' not in $group    The daemon may not make control groups here.
    Wait Until Keyword Succeeds    2 s    20 ms    A Stray Should Be In The Group    ${engine}    ${group}
    Watch Ends Of Processes    @{CHILDREN}

A Stray Should Be In The Group
    [Arguments]    ${engine}    ${group}
    ${groups} =    Evaluate
    ...    {int(path.parent.name): path.read_text().splitlines() for path in pathlib.Path('/proc').glob('[0-9]*/cgroup')}
    ${strays} =    Evaluate    [pid for pid, groups in $groups.items() if '${group}' in groups and pid != ${engine}]
    Length Should Be    ${strays}    ${1}
    ${environment} =    Evaluate    pathlib.Path('/proc/${strays}[0]/environ').read_bytes()
    Should Not Contain    ${environment}    ${{ b'POOL_MANAGERD' }}
    Get Process    ${strays}[0]    session    ==    ${strays}[0]
    VAR    @{CHILDREN} =    @{strays}    scope=TEST

The engine's child is gone
    FOR    ${pid}    IN    @{CHILDREN}
        Process Should Be Gone    ${pid}    within=0 s    zombie_allowed=True
    END

The engine's child had ended before the next start
    Processes Should Have Ended Before Phase    starting

An engine that ${ends} leaves no zombie
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define Pool    ${name}    restart.initial_ms=10 s    restart.max_ms=10 s
    Make Ready    ${name}
    ${pid} =    Get Engine Pid    ${name}
    IF    '${ends}' == 'is killed'
        Kill Engine    ${name}
    ELSE IF    '${ends}' == 'is stopped'
        Stop Pool    ${name}
    ELSE
        Engine Does    ${ends}    ${name}
    END
    Pool Should Become    ${name}    unready    within=2 s
    Processes Should Have Ended In Time    ${pid}    2 s
    Process Should Be Gone    ${pid}    within=1 s

The engine is not the daemon's child
    ${daemon} =    Get Daemon    pid
    Get Engine Process    parent    !=    ${daemon}

The daemon itself has no zombie
    ${daemon} =    Get Daemon    pid
    ${zombies} =    Evaluate
    ...    [child.pid for child in psutil.Process(${daemon}).children() if child.status() == psutil.STATUS_ZOMBIE]
    Should Be Empty    ${zombies}
