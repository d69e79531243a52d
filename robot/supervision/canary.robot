*** Settings ***
Documentation       A Ready engine that answers its health check must also give tokens: to its callers or, when it is quiet, to a canary.
...
...                 The canary is off unless a pool says otherwise; here it comes after 150 ms of quiet instead of a minute.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision


*** Variables ***
&{WATCHED}          liveness.canary=true    liveness.canary_after_ms=150 ms    liveness.interval_ms=40 ms
...                 liveness.probe_timeout_ms=200 ms    restart.initial_ms=30 s    restart.max_ms=30 s


*** Test Cases ***
An engine that is healthy and gives no token fails at the third look in a row
    [Tags]    B-SUPER-002    B-RDY-009    OC-POOL-3010
    Given a ready pool    &{WATCHED}
    When the engine stops generating
    Then the pool becomes unready within 5 s
    And an event of kind phase comes within 1 s    code=HEALTH_CHECK_FAILED
    And the event's details.cause is health_check
    And it tells the times of 3 failed looks
    And its health answers had all been good
    And the engine was asked for 3 tokens that it never gave
    And the pool is in phase backoff within 5 s
    And the pool then goes through stopping, backoff

An engine that does not generate is restarted, and serves again
    [Tags]    B-SUPER-002    B-SUPER-051    OC-POOL-3010
    Given a ready pool    &{WATCHED}    restart.initial_ms=100 ms    restart.floor_ms=100 ms
    And the pid of the engine is noted
    When the engine answers 500 to completions
    Then the pool becomes unready within 5 s
    When the engine behaves well again
    Then the pool becomes ready within 5 s
    And the engine is another process
    And a completion of 3 tokens is answered by small.gguf

Each kind of engine is asked in its own way
    [Tags]    B-RDY-009    B-SUPER-002    OC-POOL-3010
    [Template]    A ${kind} engine is asked for a token by ${path}
    llamacpp    /v1/completions
    vllm    /v1/completions
    tgi    /v1/completions
    command    /v1/completions
    simulated    /v1/completions
    triton    /v2/models/encoder/generate_stream

A busy engine that advances is healthy, however long its requests are
    [Documentation]    The engine counts a request's tokens when it has ended; its single steps show that it works.
    [Tags]    B-RDY-010    B-SUPER-002    OC-POOL-3010
    Given a ready pool whose engine generates 40 tokens per second    &{WATCHED}    slots=1
    When a completion of 40 tokens runs under a lease
    Then the completion ends whole within 5 s
    And the engine was asked for 1 completion
    And the pool is ready

An engine whose slots are all at work and that does not advance fails without being asked
    [Tags]    B-SUPER-002    B-RDY-009    OC-POOL-3010
    Given a ready pool    &{WATCHED}    slots=1
    And a completion of 4000 tokens runs under a lease
    When the engine stops generating
    Then the pool becomes unready within 5 s
    And the event's code is HEALTH_CHECK_FAILED
    And the engine was asked for 1 completion

A canary never takes the last slot from callers
    [Tags]    B-RDY-010    OC-POOL-3010
    Given a ready pool    &{WATCHED}    slots=2
    And a lease is held on the pool
    When 20 health checks have passed
    Then the engine was asked for no completion
    And the pool is ready
    When all leases are released
    Then a canary comes within 5 s

An engine that cannot be asked stays ready, and the log says so once
    [Tags]    B-RDY-009    OC-POOL-3010
    Given a ready pool whose engine answers 404 to completions    &{WATCHED}
    When a canary has come
    And a second canary has come
    Then the pool is ready
    And the daemon logs    level=warning    pool=the pool    event=daemon    reason=~the canary says nothing


*** Keywords ***
It tells the times of ${count:\d+} failed looks
    ${times} =    Get Event    details.failed_probes
    Length Should Be    ${times}    ${count}
    Should Be Equal    ${times}    ${{ sorted($times) }}

Its health answers had all been good
    ${probes} =    Get Engine Requests    path=/health
    Should Be Empty    ${{ [one for one in $probes if one['status'] not in (200, 503)] }}

The engine was asked for ${count:\d+} tokens that it never gave
    ${asked} =    Get Engine Requests    path=/v1/completions
    Length Should Be    ${{ [one for one in $asked if one['status'] is None] }}    ${count}

A ${kind:[a-z]+} engine is asked for a token by ${path:/\S+}
    VAR    ${name} =    of-kind-${kind}
    Define Engine Pool    ${kind}    ${name}    &{WATCHED}    liveness.failures=1
    Make Ready    ${name}
    Wait Until Keyword Succeeds    5 s    20 ms    Get Engine Request Count    ${path}    >=    1    ${name}
    Pool Should Show    ${name}    ready true
    Engine Does    stops generating    ${name}
    Pool Should Become    ${name}    unready    within=5 s
    Get Event    code    ==    HEALTH_CHECK_FAILED

The engine was asked for ${count:\d+|no} completion
    ${wanted} =    Evaluate    0 if '${count}' == 'no' else int('${count}')
    Get Engine Request Count    /v1/completions    ==    ${wanted}

${count:\d+} health checks have passed
    Begin Act    health checks
    ${before} =    Get Engine Request Count    /health
    Wait Until Keyword Succeeds    5 s    20 ms    Get Engine Request Count    /health    >=    ${before + ${count}}

A canary comes within ${time}
    Wait Until Keyword Succeeds    ${time}    20 ms    Get Engine Request Count    /v1/completions    >    0

A canary has come
    Another Canary Should Come

A second canary has come
    Another Canary Should Come

Another Canary Should Come
    ${before} =    Get Engine Request Count    /v1/completions
    Wait Until Keyword Succeeds    5 s    20 ms    Get Engine Request Count    /v1/completions    >    ${before}
