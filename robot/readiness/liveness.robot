*** Settings ***
Documentation       A Ready engine is asked for its health, and where the operator wants it for a token.
Resource            PoolManagerResources/scenario.resource
Test Tags           readiness


*** Test Cases ***
The third failure in a row makes a pool unready
    [Tags]    B-RDY-008    OC-POOL-3001
    Given a ready pool    liveness.interval_ms=150 ms    restart.initial_ms=30 s
    When the engine answers 500 to health checks
    Then the pool becomes unready within 5 s
    And the event's code is HEALTH_CHECK_FAILED
    And it came at the engine's 3rd bad answer, before any other

One or two failures and then a success leave it ready
    [Tags]    B-RDY-008    OC-POOL-3001
    [Template]    ${count} failed health checks before a good one, twice, leave the pool ready
    1
    2

The usual numbers
    [Tags]    B-RDY-008    B-RDY-009    OC-POOL-3001    OC-POOL-3010
    [Template]    The default of ${key} is ${value}
    liveness.interval_ms    10000
    liveness.failures    3
    liveness.canary    false
    liveness.canary_after_ms    60000

An engine that is healthy and generates nothing is found by the canary
    [Tags]    B-RDY-009    OC-POOL-3010
    Given a ready pool    liveness.canary=true    liveness.canary_after_ms=200 ms    liveness.interval_ms=50 ms
    ...    liveness.probe_timeout_ms=250 ms    restart.initial_ms=30 s
    When the engine stops generating
    Then the pool becomes unready within 5 s
    And the event's code is HEALTH_CHECK_FAILED
    And its health answers had all been good

Without the key no canary is ever sent
    [Tags]    B-RDY-009    OC-POOL-3010
    Given a ready pool whose engine never generates a token
    ...    liveness.canary_after_ms=50 ms
    ...    liveness.interval_ms=25 ms
    When 15 more health checks have passed
    Then the pool is ready
    And the engine was never asked for anything but what a GET reads

No canary comes while real completions succeed
    [Tags]    B-RDY-010
    Given a ready pool    liveness.canary=true    liveness.canary_after_ms=700 ms    liveness.interval_ms=50 ms
    When a caller has 12 completions, one every 100 ms
    Then the engine was asked for exactly these 12 completions
    And a canary comes when the caller has been quiet for a while
    And the pool is ready


*** Keywords ***
It came at the engine's ${number}rd bad answer, before any other
    ${probes} =    Get Engine Requests    path=/health
    VAR    ${bad} =    ${{ [one for one in $probes if one['status'] == 500] }}
    Length Should Be    ${bad}    ${number}
    ${at} =    Get Event    at
    VAR    ${late} =    ${{ datetime.datetime.fromisoformat($at).timestamp() * 1000 - $bad[-1]['at'] }}
    Should Be True    -2 <= ${late} <= 140    The pool became unready ${late} ms after the bad answer.

${count} failed health checks before a good one, twice, leave the pool ready
    Define Pool    fails-${count}    liveness.interval_ms=40 ms
    Make Ready    fails-${count}
    Engine Does    fails ${count} health checks
    Wait Until Keyword Succeeds    5 s    20 ms    Good Health Checks Should Have Followed    ${count}
    Engine Does    fails ${count} health checks
    Wait Until Keyword Succeeds    5 s    20 ms    Good Health Checks Should Have Followed    ${{ int($count) * 2 }}
    Get Event Count    fails-${count}    equals    0    kind=pool_unready
    Pool Should Show    fails-${count}    ready true    last_error null

Good Health Checks Should Have Followed
    [Arguments]    ${bad}
    ${probes} =    Get Engine Requests    path=/health
    VAR    ${states} =    ${{ [one['status'] for one in $probes] }}
    Should Be Equal As Integers    ${states.count(500)}    ${bad}
    Should Be Equal    ${states}[-2:]    ${{ [200, 200] }}

The default of ${key} is ${value}
    Default Should Be    ${key}    ${value}

Its health answers had all been good
    ${probes} =    Get Engine Requests    path=/health
    Should Be Empty    ${{ [one for one in $probes if one['status'] not in (200, 503)] }}

${count} more health checks have passed
    Begin Act    health checks
    ${before} =    Get Engine Request Count    /health
    Wait Until Keyword Succeeds    5 s    20 ms    Get Engine Request Count    /health    >=    ${before + ${count}}

The engine was never asked for anything but what a GET reads
    ${requests} =    Get Engine Requests
    Should Be Empty    ${{ [one for one in $requests if one['method'] != 'GET'] }}

A caller has ${count} completions, one every ${pause}
    ${url} =    Get Replica Field    r0    url
    FOR    ${_}    IN RANGE    ${count}
        Http Request    POST    ${url}/v1/completions    ${{ {'prompt': 'hello', 'max_tokens': 2} }}
        Answer Should Be    200
        Sleep Quietly    ${pause}
    END

The engine was asked for exactly these ${count} completions
    Completions Should Number    equals    ${count}

A canary comes when the caller has been quiet for a while
    Wait Until Keyword Succeeds    5 s    50 ms    Completions Should Number    >    12

Completions Should Number
    [Arguments]    ${operator}    ${count}
    Get Engine Request Count    /v1/completions    ${operator}    ${count}
