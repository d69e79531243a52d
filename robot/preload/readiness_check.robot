*** Settings ***
Documentation       Which answers of an engine make it Ready, when it is asked, and how long it may take.
Resource            PoolManagerResources/scenario.resource
Test Tags           preload


*** Test Cases ***
The readiness request goes to the host and port that the engine was given
    [Tags]    B-PRELOAD-010    OC-POOL-3001
    Given a pool whose engine never becomes ready    host=127.0.0.2
    When the pool is preloaded
    Then the pool reaches phase loading within 3 s
    And the engine is asked for GET /health again and again
    And the engine was given the host 127.0.0.2 and the port of its url

Another kind of engine is asked in its own way
    [Tags]    B-PRELOAD-010    OC-POOL-3001
    Given a pool of kind triton whose engine never becomes ready
    When the pool is preloaded
    Then the pool reaches phase loading within 3 s
    And the engine is asked for GET /v2/health/ready again and again

Probes begin early, go apart as the load lasts, and never by more than the limit
    [Documentation]    A thirty-second of the time gone by: 25 ms are reached after 800 ms.
    [Tags]    B-PRELOAD-011    OC-POOL-3001
    Given a pool whose engine needs 1.4 s to load    readiness.max_interval_ms=25 ms
    When the pool is preloaded
    Then the pool becomes ready within 6 s
    And Probes Should Be Apart    at_least=5 ms    until=300 ms    at_most=20 ms
    And Probes Should Be Apart    at_least=15 ms    after=600 ms    until=900 ms
    And Probes Should Be Apart    at_least=25 ms    after=1 s    at_most=60 ms
    And Ready Should Be Reported In Time

The first probe comes as long after the spawn as configured
    [Tags]    B-PRELOAD-011    OC-POOL-3001
    Given a pool    readiness.first_ms=300 ms
    When the pool is preloaded
    Then the pool becomes ready within 5 s
    And First Probe Should Come After    300 ms

Ready is reported soon after the engine is
    [Tags]    B-PRELOAD-011    OC-POOL-3001
    [Template]    Ready is reported in time for an engine that needs ${time} to load
    0 s
    300 ms

The numbers behind all this
    [Tags]    B-PRELOAD-011    B-PRELOAD-013    OC-POOL-3001    OC-POOL-3002    OC-POOL-3003
    [Template]    The default of ${key} is ${value}
    readiness.first_ms    5
    readiness.max_interval_ms    500
    readiness.timeout_ms    120000

An engine that is never ready fails at the readiness timeout
    [Tags]    B-PRELOAD-013    OC-POOL-3002    OC-POOL-3003
    Given a pool whose engine never becomes ready    readiness.timeout_ms=500 ms    restart.initial_ms=30 s
    When the pool is preloaded
    Then the preload fails within 6 s with READINESS_TIMEOUT
    And it failed 500 ms to 1500 ms after its spawn
    And the pool is never in phase ready

Another program's 200 on the engine's port is not the engine's
    [Tags]    B-PRELOAD-051    OC-POOL-3001
    Given a pool whose engine needs 60 s to listen    readiness.timeout_ms=2 s    restart.initial_ms=30 s
    And all surfaces are watched
    When the pool is preloaded
    And another program answers 200 on the engine's port
    Then the pool is in phase backoff within 8 s
    And the last error of the pool is READINESS_TIMEOUT
    And the error names not the engine's
    And no surface ever reported the pool ready
    And the pool is never in phase ready


*** Keywords ***
The engine is asked for GET ${path} again and again
    Wait Until Keyword Succeeds    3 s    20 ms    The engine has been asked    5    ${path}
    ${requests} =    Get Engine Requests
    FOR    ${request}    IN    @{requests}
        Should Be Equal    ${request}[method] ${request}[path]    GET ${path}
    END

The engine has been asked
    [Arguments]    ${times}    ${path}
    Get Engine Request Count    ${path}    >=    ${times}

The engine was given the host ${host} and the port of its url
    ${url} =    Get Replica Field    r0    url
    VAR    ${port} =    ${{ $url.rpartition(':')[2] }}
    Should Be Equal    ${url}    http://${host}:${port}
    Command Line Should Have    the engine    --host    ${host}    --port    ${port}

Ready is reported in time for an engine that needs ${time} to load
    Define Pool    slow    load_ms=${time}
    Preload Pool    slow    wait=10 s
    Answer Should Be    200
    Ready Should Be Reported In Time
    Use Next Pool

Use Next Pool
    [Documentation]    The next row defines a pool of its own.
    Stop Pool
    Remove Pool

The default of ${key} is ${value}
    Default Should Be    ${key}    ${value}

It failed ${least} to ${most} after its spawn
    [Documentation]    The event of phase loading comes a moment after the spawn, so that the error's own count is the lower limit.
    ${waited} =    Get Last Error    the pool    details.waited_ms
    Should Be True    ${waited} >= ${{ robot.utils.timestr_to_secs($least) * 1000 }}
    Time Between Phases    loading    stopping    >=    ${{ robot.utils.timestr_to_secs($least) - 0.05 }}
    Time Between Phases    loading    stopping    <=    ${most}

Another program answers 200 on the engine's port
    [Documentation]    The engine listens nowhere yet.
    Wait Until Pool Phase    the pool    loading    3 s
    ${url} =    Get Replica Field    r0    url
    Serve 200 On Port    ${{ int($url.rpartition(':')[2]) }}
