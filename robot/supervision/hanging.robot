*** Settings ***
Documentation       An engine that lives and does not work is found, ended whatever it does, and only then replaced.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision    OC-POOL-3010


*** Variables ***
&{OFTEN}        liveness.interval_ms=60 ms    liveness.probe_timeout_ms=80 ms    stop.grace_ms=150 ms
...             restart.initial_ms=30 s


*** Test Cases ***
Three failed health checks in a row are a failure, and each is in the log
    [Tags]    B-SUPER-002
    Given a ready pool    &{OFTEN}
    When the engine answers 500 to health checks
    Then the pool becomes unready within 2 s
    And the event's code is HEALTH_CHECK_FAILED
    And the pool is in phase backoff within 2 s
    And the last error of the pool is HEALTH_CHECK_FAILED
    And the error's details.cause is health_check
    And the log has the times of the 3 failed probes

The usual numbers
    [Tags]    B-SUPER-002
    [Template]    The default of ${key} is ${value}
    liveness.interval_ms    10000
    liveness.failures    3
    stop.grace_ms    5000

A frozen engine is found, killed and restarted with backoff
    [Tags]    B-SUPER-045
    Given a ready pool    liveness.interval_ms=60 ms    liveness.probe_timeout_ms=80 ms    stop.grace_ms=150 ms
    ...    restart.initial_ms=200 ms    restart.floor_ms=50 ms
    And the pid of the engine is noted
    When the engine is killed by SIGSTOP
    Then the pool becomes unready within 2 s
    And the event's code is HEALTH_CHECK_FAILED
    And an event of kind restart_scheduled comes within 3 s
    And the pool becomes ready within 5 s
    And the engine is another process
    And the noted process of the engine is gone within 1 s
    And the pool then goes through stopping, backoff, preflight, starting, loading, ready
    And the pool shows    restart_count 1

A fatal CUDA line is believed although the engine answers its health checks
    [Tags]    B-SUPER-003
    Given a ready pool    liveness.interval_ms=60 s    restart.initial_ms=30 s
    And the pid of the engine is noted
    When the engine reports a CUDA error
    Then the pool becomes unready within 1 s
    And the event's code is CUDA_ERROR
    And the last error of the pool is CUDA_ERROR
    And the error's details.cause is cuda_error
    And the engine had not failed a health check
    And the noted process of the engine is gone within 10 s

A replica that fails while its process lives is stopping until all of it is gone
    [Tags]    B-SUPER-051
    [Template]    A pool whose engine ${fails} goes through ${phases}
    answers 500 to health checks    stopping, backoff
    reports a CUDA error    draining, stopping, backoff
    uses GPU stray outside its mask    stopping, failed
    stops generating    stopping, backoff

Where the breaker opens, it shows stopping first, too
    [Tags]    B-SUPER-051    OC-POOL-3011
    Given a ready pool whose engine starts a child in its own session    breaker.failures=1    &{OFTEN}
    When the engine answers 500 to health checks
    Then the pool becomes unready within 2 s
    And the pool is in phase circuit_open within 5 s
    And the pool then goes through stopping, circuit_open
    And no process of the pool is left within 100 ms


*** Keywords ***
The default of ${key} is ${value}
    Default Should Be    ${key}    ${value}

The log has the times of the ${count} failed probes
    ${record} =    Daemon Log Should Have    pool=the pool    code=HEALTH_CHECK_FAILED    kind=phase
    Length Should Be    ${record}[failed_probes]    ${count}
    ${times} =    Evaluate    [datetime.datetime.fromisoformat(one).timestamp() for one in $record['failed_probes']]
    ...    modules=datetime
    Should Be Equal    ${times}    ${{ sorted($times) }}
    ${probes} =    Get Engine Requests    path=/health
    VAR    ${bad} =    ${{ [one['at'] / 1000 for one in $probes if one['status'] == 500] }}
    FOR    ${said}    ${seen}    IN ZIP    ${times}    ${bad}
        Should Be True    abs(${said} - ${seen}) < 0.1    The log says ${times}, the engine answered badly at ${bad}.
    END

The engine had not failed a health check
    ${probes} =    Get Engine Requests    path=/health
    Should Be Empty    ${{ [one for one in $probes if one['status'] not in (200, 503)] }}

A pool whose engine ${fails} goes through ${phases}
    IF    'stray' in $fails    Define GPU    stray
    ${pool} =    A Ready Pool With A Stubborn Child
    Engine Does    ${fails}    engine r0 of pool ${pool}
    VAR    ${last} =    ${{ $phases.split(', ')[-1] }}
    Pool Should Become    ${pool}    in phase ${last}    within=5 s
    Phases Should Be    ${pool}    ${phases}    since_act=True
    Processes Should Have Ended Before Phase    ${last}    ${pool}

A ready pool with a stubborn child
    ${pool} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define GPU    ${pool}
    Define Pool    ${pool}    starts a child in its own session and ignores SIGTERM    gpu=${pool}    liveness.canary=true
    ...    liveness.canary_after_ms=100 ms    &{OFTEN}
    Make Ready    pool ${pool}
    ${children} =    Get Engine Children    engine r0 of pool ${pool}
    Watch Ends Of Processes    @{children}
    RETURN    ${pool}
