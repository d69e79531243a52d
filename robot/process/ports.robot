*** Settings ***
Documentation    Where an engine listens: on a port of its own from the range, or on the one that the operator fixed, once that is free.

Library          Collections
Resource         PoolManagerResources/scenario.resource

Test Tags        process


*** Test Cases ***
A fixed port that another program holds is named with its holder, and nothing is started or counted
    [Tags]    B-PROC-025
    Given another program listens on a port
    And a pool on that port    breaker.failures=1
    When the pool is preloaded
    Then the preload fails within 1 s with SPAWN_FAILED
    And the last error of the pool is SPAWN_FAILED
    And the error names the port and the pid of its holder
    And no engine process was started
    And nothing was counted towards restarts or the breaker

The pool becomes ready by itself once its fixed port is free
    [Tags]    B-PROC-025
    Given another program listens on a port
    And a pool on that port    load_ms=200 ms    breaker.failures=1
    When the pool is preloaded
    And the preload fails within 1 s with SPAWN_FAILED
    When the other program lets go of the port
    Then the pool becomes ready within 1.2 s
    And the engine listens on that port
    And the pool shows    restart_count 0    last_error null
    And nothing was counted towards restarts or the breaker

However often a taken port is looked at, it counts for nothing
    [Tags]    B-PROC-025
    Given another program listens on a port
    And a pool on that port
    ...    breaker.failures=2
    ...    restart.initial_ms=50 ms
    ...    restart.floor_ms=50 ms
    ...    restart.max_ms=100 ms
    When the pool is preloaded
    Then the start has been refused for its port at least 3 times within 5 s
    And nothing was counted towards restarts or the breaker
    And no engine process was started
    And no event of kind breaker comes within 0 ms

Pools started at once, 20 of them, get 20 different ports from the range
    [Tags]    B-PROC-026
    Given a GPU with 40 GiB
    And 20 pools    gpu=the GPU    share_devices=true    vram_bytes=1 GiB    simulated.vram_bytes=1 GiB
    When every pool is preloaded
    Then every pool is in phase ready within 20 s
    And the 20 pools listen on different ports of the range

A port of the range that another program holds is passed over
    [Documentation]    Three starts go once round a range of three ports.
    [Tags]    B-PROC-030    OC-POOL-3001
    Given another program listens on a port
    And a daemon of its own whose range is that port and the next two
    And a pool
    When the pool is started and stopped twice, and started once more
    Then the engine listened on the other two ports only
    And the pool is ready
    And the pool is never in phase backoff
    And nothing was counted towards restarts or the breaker

A port of the range that is taken just before the engine listens is replaced by another one
    [Tags]    B-PROC-030    OC-POOL-3001
    Given a pool    breaker.failures=1    restart.initial_ms=30 s    restart.max_ms=30 s
    And for its next 2 starts the engine finds its port taken
    When the pool is preloaded
    Then the pool becomes ready within 5 s
    And the pool has started on 3 different ports
    And the pool is never in phase backoff
    And the pool shows    ready true    last_error null    restart_count 0
    And nothing was counted towards restarts or the breaker


*** Keywords ***
Another program listens on a port
    [Documentation]    One that neither the kernel nor another scenario's daemon gives out by itself.
    Wait Until Keyword Succeeds    5x    0 s    Any Port Is Taken

Any Port Is Taken
    ${number} =    Evaluate    random.randint(10000, 19990)
    Occupy Port    ${number}
    VAR    ${PORT} =    ${number}    scope=TEST

The other program lets go of the port
    Free Port    ${PORT}

A pool on that port
    [Arguments]    &{settings}
    Define Pool    pool    port=${PORT}    &{settings}

The error names the port and the pid of its holder
    ${pid} =    Get Listener Pid    ${PORT}
    Error Should Name    port ${PORT}    pid ${pid}

Nothing was counted towards restarts or the breaker
    Pool Should Show
    ...    the pool
    ...    restart_count 0
    ...    breaker.state closed
    ...    breaker.failures 0
    ...    breaker.driver_failures 0
    Get Event Count    the pool    should be    ${0}    kind=restart_scheduled

The engine listens on that port
    ${url} =    Get Replica Field    r0    url
    Should Be Equal    ${url}    http://127.0.0.1:${PORT}
    Command Line Should Have    the engine    --port    ${PORT}

The start has been refused for its port at least ${count} times within ${time}
    Wait Until Keyword Succeeds    ${time}    50 ms
    ...    Get Event Count    the pool    >\=    ${{ int($count) }}    kind=phase    code=SPAWN_FAILED

The 20 pools listen on different ports of the range
    ${range} =    The configured range of ports
    VAR    @{ports} =    @{EMPTY}
    FOR    ${number}    IN RANGE    1    21
        ${url} =    Get Replica Field    p${number}/r0    url
        ${port} =    Evaluate    int($url.rpartition(':')[2])
        Command Line Should Have    p${number}/r0    --port    ${port}
        Should Be True    ${range}[0] <= ${port} <= ${range}[1]
        Append To List    ${ports}    ${port}
    END
    Length Should Be    ${{ set($ports) }}    20

The configured range of ports
    ${text} =    Get Config Text
    ${server} =    Evaluate    tomllib.loads($text)['server']
    RETURN    ${server}[port_range]

A daemon of its own whose range is that port and the next two
    Prepare Daemon    server.port_range=[${PORT}, ${${PORT} + 2}]

The pool is started and stopped twice, and started once more
    FOR    ${_}    IN RANGE    2
        Make Ready    the pool
        Stop Pool    the pool
    END
    Make Ready    the pool

The engine listened on the other two ports only
    ${events} =    Get Events    the pool    kind=phase    to=loading
    ${ports} =    Evaluate    [int(event['details']['url'].rpartition(':')[2]) for event in $events]
    Length Should Be    ${ports}    3
    Should Be Equal    ${{ sorted(set($ports)) }}    ${{ [int($PORT) + 1, int($PORT) + 2] }}

The pool has started on ${count} different ports
    ${events} =    Get Events    the pool    kind=phase    to=loading
    Length Should Be    ${events}    ${{ int($count) }}
    Length Should Be    ${{ {event['details']['url'] for event in $events} }}    ${{ int($count) }}
