*** Settings ***
Documentation    The daemon's log as a whole: one JSON object per line whatever happens, as many as the metrics count, or a form for people.

Resource         PoolManagerResources/scenario.resource

Test Tags        observability    OC-POOL-3030


*** Variables ***
&{QUICK}    restart.initial_ms=100 ms    restart.floor_ms=50 ms    restart.jitter=0


*** Test Cases ***
Every line is one JSON object, whatever its values hold
    [Tags]    B-LOG-008
    Given a daemon of its own
    And a ready pool whose model's name has line breaks and control characters    &{QUICK}
    When the engine's last words have some, too
    And the engine is killed
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    When callers send garbage
    And the config file is broken
    And the daemon receives SIGHUP
    Then an event of kind config of the daemon comes within 5 s    to=refused
    When the daemon is stopped
    Then every line of the log is one JSON object
    And the model and the last words stand in their lines unchanged

The log and the counters agree in what they tell
    [Tags]    B-LOG-009    OC-POOL-3010    OC-POOL-3011
    Given a daemon of its own
    And a GPU with 8 GiB
    And a pool    &{QUICK}    breaker.failures=9
    And for its next 2 starts the engine exits with code 3 while loading
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    When the engine behaves well again
    And the engine is killed
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    When XID 43 is reported for the GPU
    And XID 119 is reported for the GPU
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    And the log agrees with the metrics in 3 good loads, 2 failed ones, 4 restarts and 1 driver resets

The console form is for people
    [Tags]    B-LOG-012
    Given a daemon of its own    log.format=console    log.level=info
    And a ready pool    &{QUICK}
    When the engine is killed by SIGSEGV
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    And no line of the log is a JSON object
    And the log says who, what and why    loading → ready    ended by SIGSEGV    restart scheduled

The level hides what is below it
    [Tags]    B-LOG-012
    Given a daemon of its own    log.level=warning
    And a ready pool    &{QUICK}
    When the engine is killed
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    And the daemon logs    level=error    event=phase    pool=the pool
    And the daemon logs    level=warning    event=restart_scheduled    pool=the pool
    And the daemon logs nothing with    level=info
    And the daemon logs nothing with    level=debug

The level debug shows the renewals that info hides
    [Tags]    B-LOG-012
    Given a daemon of its own    log.level=info
    And a ready pool
    When a lease is renewed
    Then the daemon logs nothing with    event=lease    action=renewed
    And the daemon logs    event=lease    action=granted    level=info
    When the daemon is started again at level debug
    And the pool has been preloaded
    And a lease is renewed
    Then the daemon logs    event=lease    action=renewed    level=debug


*** Keywords ***
A ready pool whose model's name has line breaks and control characters
    [Arguments]    &{settings}
    VAR    ${ODD} =    models/a\nb\r\x07\x1b[31m\u2028\x85{"level".gguf    scope=TEST
    Create Model File    ${{ $ODD.removeprefix('models/') }}
    A ready pool    model=${ODD}    &{settings}

The engine's last words have some, too
    VAR    @{lines} =    last \x07 words \x1b[31m end
    Set Engine Fault    the engine    stdout=${lines}
    The log of the engine has "words" within 2 s

Callers send garbage
    Send Garbage To Grpc
    Send Raw Http    \x00\xff\r\n\r\n
    Answer Text    contains    Invalid HTTP request

The config file is broken
    Set Config Text    [server\nx = "a\x07b

Every line of the log is one JSON object
    ${count} =    Every Log Line Should Be One Json Object
    Should Be True    ${count} > 20

The model and the last words stand in their lines unchanged
    @{records} =    Get Daemon Log    event=pool_ready
    Should Be Equal    ${records}[0][model]    ${ODD}
    @{records} =    Get Daemon Log    event=phase    code=ENGINE_EXITED
    Should Contain    ${records}[0][log_tail]    last \x07 words \x1b[31m end

The log agrees with the metrics in ${good} good loads, ${failed} failed ones, ${restarts} restarts and ${resets} driver resets
    ${seen} =    Log Should Agree With Metrics    the pool    the GPU
    VAR    &{expected} =
    ...    preload_success_total=${{ int($good) }}
    ...    preload_failure_total=${{ int($failed) }}
    ...    restart_total=${{ int($restarts) }}
    ...    driver_reset_total=${{ int($resets) }}
    Should Be Equal    ${seen}    ${expected}

No line of the log is a JSON object
    ${text} =    Get Daemon Output
    FOR    ${line}    IN    @{text.splitlines()}
        Should Not Start With    ${line}    {
    END

The log says who, what and why
    [Arguments]    @{sentences}
    ${id} =    Get Pool Id
    ${text} =    Get Daemon Output
    FOR    ${sentence}    IN    @{sentences}
        Should Match Regexp    ${text}    (?m)^\\d{4}-\\d\\d-\\d\\dT\\S+Z \\[\\w+ *\\] ${id}/r0: .*${sentence}
    END
    Should Not Contain    ${text}    \x1b

A lease is renewed
    Acquire Lease    the pool
    Renew Lease
    Answer Should Be    200
    An event of kind lease comes within 5 s    details.action=renewed

The daemon is started again at level ${level}
    Change Config    log.level=${level}
    Restart Daemon    SIGTERM
