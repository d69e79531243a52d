*** Settings ***
Documentation       A replica that fails too often in a row is given up for a while: its circuit is open, and nothing is started for it.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision    OC-POOL-3011


*** Variables ***
&{AT_ONCE}      restart.initial_ms=20 ms    restart.floor_ms=10 ms    restart.max_ms=40 ms
&{THIRD}        breaker.failures=3    &{AT_ONCE}


*** Test Cases ***
The fifth failure in a row opens a replica's circuit and leaves the others alone
    [Tags]    B-SUPER-020    B-SUPER-050
    Given a ready pool    replicas=2    breaker.open_ms=60 s    &{AT_ONCE}
    And engine r0 shows    ready true    within=5 s
    And engine r1 shows    ready true    within=5 s
    And the pid of engine r1 is noted
    And the status is watched
    And for its next 10 starts the engine exits with code 3 while loading
    When the engine is killed
    Then engine r0 shows    phase circuit_open    breaker.state open    breaker.failures 5    within=5 s
    And its circuit opened at its fifth failure, for a minute from then
    And engine r0 shows    live false    pid null
    And exactly 4 processes of the engine were started
    And engine r1 shows    ready true    breaker.state closed    breaker.failures 0    restart_count 0
    And engine r1 is still the same process
    And every status had status['ready'] is True

The usual numbers
    [Tags]    B-SUPER-020    B-SUPER-022    B-SUPER-024    B-SUPER-025    B-SUPER-040    B-SUPER-049
    [Template]    The default of ${key} is ${value}
    breaker.failures    5
    breaker.driver_failures    5
    breaker.open_ms    300000
    breaker.max_open_ms    3600000
    breaker.stable_ms    60000
    restart.stable_ms    300000

While its only circuit is open, a pool is not started and says for how long
    [Tags]    B-SUPER-021
    Given a pool whose engine exits with code 3 while loading    breaker.open_ms=60 s    &{THIRD}
    When the pool is preloaded
    Then the pool is in phase circuit_open within 5 s
    When the pool is preloaded
    Then it is refused with 409 CIRCUIT_OPEN
    And the caller is told to come back within a minute
    When the pool is preloaded over gRPC
    Then it is refused with CIRCUIT_OPEN
    When a caller asks for a lease on the pool
    Then it is refused with POOL_UNREADY
    And the pool stays in phase circuit_open for 200 ms
    And no process of the engine was started

While another replica serves, leases are granted and a preload changes nothing
    [Tags]    B-SUPER-021    B-REPLICA-004    OC-POOL-3010
    Given a ready pool    replicas=2    breaker.open_ms=60 s    &{THIRD}
    And engine r0 shows    ready true    within=5 s
    And engine r1 shows    ready true    within=5 s
    And a lease on engine r1 is held
    And for its next 10 starts the engine exits with code 3 while loading
    When the engine is killed
    Then engine r0 shows    phase circuit_open    restart_count 2    breaker.failures 3    within=5 s
    And the lease on engine r1 is still held
    And the pool shows    ready true    phase ready    restart_count 2    breaker.state open
    When a caller asks for a lease on the pool
    Then it is accepted
    And engine r1 shows    restart_count 0    breaker.failures 0    breaker.state closed
    When the pool is preloaded
    Then it answers 200
    And engine r0 shows    phase circuit_open

A preload starts the replica that waits, and not the one whose circuit is open
    [Tags]    B-SUPER-019    B-SUPER-021
    Given a ready pool    replicas=2    breaker.failures=2    breaker.open_ms=60 s    restart.initial_ms=500 ms
    And engine r0 shows    ready true    within=5 s
    And engine r1 shows    ready true    within=5 s
    And for its next 10 starts the engine exits with code 3 while loading
    And the engine is killed
    And engine r0 shows    phase circuit_open    within=5 s
    When engine r1 is killed
    Then engine r1 shows    phase backoff    within=1 s
    When the pool is preloaded
    Then the pool becomes ready within 5 s
    And engine r1 shows    ready true    restart_count 0
    And engine r0 shows    phase circuit_open    breaker.state open
    And no process of engine r0 was started

Where too few replicas are Ready, leases are refused and the circuit is named
    [Tags]    B-SUPER-021
    Given a ready pool    replicas=2    min_ready=2    breaker.open_ms=60 s    &{THIRD}
    And engine r0 shows    ready true    within=5 s
    And engine r1 shows    ready true    within=5 s
    And for its next 10 starts the engine exits with code 3 while loading
    When the engine is killed
    Then engine r0 shows    phase circuit_open    within=5 s
    When a caller asks for a lease on the pool
    Then it is refused with POOL_UNREADY
    When the pool is preloaded
    Then it is refused with 409 CIRCUIT_OPEN
    And engine r1 shows    ready true    restart_count 0

The configured number of failures opens it, and each change is told
    [Tags]    B-SUPER-029    B-SUPER-026    B-SUPER-027    OC-POOL-3030
    Given a ready pool    breaker.open_ms=300 ms    breaker.stable_ms=200 ms    &{THIRD}
    And for its next 2 starts the engine exits with code 3 while loading
    And the metric circuit_breaker_open_total of the pool is noted    replica_id=r0
    And the metric circuit_breaker_state of the pool is 0    replica_id=r0
    When the engine is killed
    Then the pool reaches phase circuit_open within 5 s
    And the metric circuit_breaker_state of the pool is 1    replica_id=r0
    And the breaker of the engine goes through open, half_open, closed within 5 s
    And the metric circuit_breaker_open_total of the pool has risen by 1    replica_id=r0
    And the metric circuit_breaker_state of the pool is 0    replica_id=r0
    And each change of the breaker was an event and a line in the log    3

Half-open is shown as 2
    [Tags]    B-SUPER-027    OC-POOL-3030
    Given a ready pool    breaker.failures=1    breaker.open_ms=100 ms    &{AT_ONCE}
    When the engine is killed
    Then the pool becomes ready within 5 s
    And the metric circuit_breaker_state of the pool is 2    replica_id=r0
    And engine r0 shows    breaker.state half_open    phase ready

A reset closes the breakers of all replicas and makes an attempt at once
    [Tags]    B-SUPER-028
    [Template]    A reset over ${protocol} closes both breakers and both replicas come up
    HTTP
    gRPC

Failures with a short Ready time between them are in a row, with a long one they are not
    [Tags]    B-SUPER-049
    [Template]    With stable_ms=${stable}, ${count} crashes of a Ready engine leave ${failures} failures and a breaker that is ${state}
    10 s    3    3    open
    1 ms    4    1    closed


*** Keywords ***
The default of ${key} is ${value}
    Default Should Be    ${key}    ${value}

Its circuit opened at its fifth failure, for a minute from then
    ${changes} =    Get Breaker Events    r0
    Length Should Be    ${changes}    1
    ${failures} =    Get Events    the pool    since_act=True    kind=phase    replica_id=r0    code=ENGINE_EXITED
    Length Should Be    ${failures}    5
    ${open_for} =    Evaluate
    ...    datetime.datetime.fromisoformat($changes[0]['details']['open_until']) - datetime.datetime.fromisoformat($failures[4]['at'])
    ...    modules=datetime
    Should Be True    abs(${open_for.total_seconds()} - 60) < 0.01    It is open for ${open_for}.
    ${until} =    Get Replica Field    r0    breaker.open_until
    Should Be Equal    ${until}    ${changes}[0][details][open_until]

The caller is told to come back within a minute
    ${wait} =    Error Field    retry_after_ms
    Should Be True    50000 < ${wait} <= 60000
    ${until} =    Get Replica Field    r0    breaker.open_until
    Error Field    details.open_until    ==    ${until}

A lease on engine r1 is held
    [Documentation]    Of two leases, one on each replica.
    Take Leases    2    the pool    ttl=60 s
    ${leases} =    Get Leases    the pool
    VAR    ${HELD} =    ${{ next(one['lease_id'] for one in $leases if one['replica_id'] == 'r1') }}    scope=TEST

The lease on engine r1 is still held
    ${leases} =    Get Leases    the pool
    Should Be Equal    ${{ [one['lease_id'] for one in $leases] }}    ${{ [$HELD] }}

Each change of the breaker was an event and a line in the log
    [Arguments]    ${count}
    ${changes} =    Get Breaker Events    r0
    Length Should Be    ${changes}    ${count}
    ${lines} =    Get Daemon Log    pool=the pool    kind=breaker    replica_id=r0
    Length Should Be    ${lines}    ${count}
    FOR    ${change}    ${line}    IN ZIP    ${changes}    ${lines}
        FOR    ${field}    IN    old_state    new_state    failure_count
            Should Be Equal    ${line}[${field}]    ${change}[details][${field}]
        END
        Should Be Equal    ${line}[reason]    ${change}[reason]
        Should Not Be Empty    ${change}[reason]
    END
    VAR    ${states} =
    ...    ${{ [[one['details'][key] for key in ('old_state', 'new_state', 'failure_count')] for one in $changes] }}
    Should Be Equal    ${states}
    ...    ${{ [['closed', 'open', 3], ['open', 'half_open', 3], ['half_open', 'closed', 0]] }}

A reset over ${protocol} closes both breakers and both replicas come up
    ${pool} =    A Pool Of Two Replicas With Open Circuits
    Reset Circuit    ${pool}    protocol=${protocol}
    Answer Should Be    accepted
    Answer Field    breaker.state    ==    closed
    Answer Field    breaker.failures    ==    ${0}
    FOR    ${replica}    IN    r0    r1
        Wait For Event    ${pool}    kind=phase    to=preflight    replica_id=${replica}    within=500 ms
        Breaker Should Have Gone Through    closed    ${pool}/${replica}
        Replica Should Show    ${pool}/${replica}    ready true    breaker.state closed    restart_count 2    within=5 s
    END

A pool of two replicas with open circuits
    [Documentation]    Whose engines would come up now.
    ${pool} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define Pool    ${pool}    replicas=2    breaker.open_ms=60 s    &{THIRD}
    Engine Does    exits with code 3 while loading    ${pool}/r0    starts=3
    Engine Does    exits with code 3 while loading    ${pool}/r1    starts=3
    Preload Pool    ${pool}
    Replica Should Show    ${pool}/r0    phase circuit_open    within=5 s
    Replica Should Show    ${pool}/r1    phase circuit_open    within=5 s
    RETURN    ${pool}

With stable_ms=${stable}, ${count} crashes of a Ready engine leave ${failures} failures and a breaker that is ${state}
    ${pool} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define Pool    ${pool}    restart.stable_ms=${stable}    breaker.open_ms=60 s    restart.factor=1    &{THIRD}
    Make Ready    pool ${pool}
    FOR    ${_}    IN RANGE    ${count}
        Wait Until Pool Is Ready    ${pool}    5 s
        Sleep Quietly    5 ms
        Kill Engine    ${pool}/r0
        Pool Should Become    ${pool}    unready    within=1 s
    END
    Replica Should Show    ${pool}/r0    breaker.failures ${failures}    breaker.state ${state}    within=1 s
