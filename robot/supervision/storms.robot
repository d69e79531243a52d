*** Settings ***
Documentation       Restarts without end are bounded by a rate, warned of, and given up where nothing else ends them.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision    OC-POOL-3011


*** Variables ***
# So that neither the delays nor the failures in a row end the storm.
&{STORMY}       restart.initial_ms=20 ms    restart.floor_ms=10 ms    restart.factor=1    restart.jitter=0    breaker.failures=50


*** Test Cases ***
The usual numbers
    [Tags]    B-SUPER-032    B-SUPER-033    B-SUPER-034    B-SUPER-035
    [Template]    The default of ${key} is ${value}
    restart.storm_warn    5
    restart.rate    10
    restart.rate_window_ms    60000
    restart.storm_open    10
    restart.storm_open_window_ms    30000

More than five restarts within a minute are warned of
    [Tags]    B-SUPER-032    OC-POOL-3030
    Given a ready pool    &{STORMY}
    And for its next 6 starts the engine exits with code 3 while loading
    When the engine is killed
    Then an event of kind storm comes within 10 s    to=warning
    And the event's details.restart_count is 6
    And the event's details.time_window is 60
    And the daemon logs    pool=the pool    kind=storm    level=warning    restart_count=6    time_window=60
    And the pool becomes ready within 10 s

Ten restarts within thirty seconds open the circuit, though fewer failures than configured came in a row
    [Tags]    B-SUPER-035    B-SUPER-036    B-SUPER-037    OC-POOL-3030
    Given a ready pool    &{STORMY}
    And for its next 20 starts the engine exits with code 3 while loading
    And the metric restart_storm_total of the pool is noted
    When the engine is killed
    Then the pool is in phase circuit_open within 20 s
    And engine r0 shows    restart_count 10    breaker.state open    breaker.failures 11
    And the storm that opened it was critical, and names 10 restarts
    And restart_storm_total of the pool has risen by each storm that was told of
    And the metric restart_rate of the pool is 10
    And no process of the pool is left within 1 s

After as many restarts as the rate allows the next one waits for the window
    [Tags]    B-SUPER-033
    Given a ready pool    restart.rate=3    restart.rate_window_ms=1500 ms    &{STORMY}
    And for its next 3 starts the engine exits with code 3 while loading
    When the engine is killed
    Then an event of kind storm comes within 5 s    to=rate_limited
    And the daemon logs    pool=the pool    kind=storm    to=rate_limited    level=warning    restart_count=3
    And the pool becomes ready within 10 s
    And each restart of the pool waited 20 ms, or until no more than 3 fell into 1500 ms
    And 4 restarts of the pool came within 100 ms of their announced times

The window slides
    [Documentation]    Two restarts, and a while later one more: not delayed. The next waits for the oldest only.
    [Tags]    B-SUPER-034
    Given a ready pool    restart.rate=3    restart.rate_window_ms=2500 ms    &{STORMY}
    And for its next 1 start the engine exits with code 3 while loading
    And the engine is killed
    And the pool becomes ready within 5 s
    And the pool stays ready for 500 ms
    When the engine dies twice, each time once it is ready
    Then the pool becomes ready within 10 s
    And each restart of the pool waited 20 ms, or until no more than 3 fell into 2500 ms
    And the metric restart_rate of the pool falls below 3

Running out of memory again and again has a name of its own
    [Tags]    B-SUPER-038    OC-POOL-3030
    Given a pool whose engine runs out of memory while loading    &{STORMY}
    When the pool is preloaded
    Then an event of kind storm comes within 10 s    details.storm=oom_storm
    And five times out of memory had come before it
    And the hint is to lower context, parallel slots or the model's size
    And the daemon logs    pool=the pool    kind=storm    storm=oom_storm    hint=~context.*parallel.*model's size

A reset after a storm permits one start; the next restart opens the circuit again
    [Tags]    B-SUPER-039
    Given a ready pool    restart.storm_open=3    &{STORMY}
    And for its next 5 starts the engine exits with code 3 while loading
    And the engine is killed
    And the pool is in phase circuit_open within 10 s
    When the circuit of the pool is reset
    Then the breaker of the engine goes through closed, open within 5 s
    And exactly 1 process of the engine was started
    And engine r0 shows    phase circuit_open    breaker.failures 1    restart_count 3
    And the daemon logs    pool=the pool    kind=storm    to=opened    level=critical


*** Keywords ***
The default of ${key} is ${value}
    Default Should Be    ${key}    ${value}

The storm that opened it was critical, and names ${count:\d+} restarts
    ${storms} =    Get Events    the pool    kind=storm    to=opened
    Length Should Be    ${storms}    1
    Should Be Equal    ${storms}[0][replica_id]    r0
    Should Be Equal As Integers    ${storms}[0][details][restart_count]    ${count}
    ${record} =    Daemon Log Should Have    pool=the pool    kind=storm    to=opened
    Should Be Equal    ${record}[level]    critical
    Should Be Equal    ${record}[replica_id]    r0
    Should Be Equal As Integers    ${record}[restart_count]    ${count}

Restart_storm_total of the pool has risen by each storm that was told of
    ${storms} =    Get Events    the pool    kind=storm
    Metric Should Have Risen By    restart_storm_total    ${{ len($storms) }}    pool=the pool
    Should Be True    len($storms) > 1

Each restart of the pool waited ${delay:\d+} ms, or until no more than ${rate:\d+} fell into ${window:\d+} ms
    Restarts Should Keep To Rate    the pool    ${rate}    ${window} ms    ${delay} ms

The engine dies twice, each time once it is ready
    Kill Engine
    Pool Should Become    the pool    ready    within=5 s
    Kill Engine

The metric restart_rate of the pool falls below ${count:\d+}
    Get Metric    restart_rate    <    ${count}    within=3 s    pool=the pool

Five times out of memory had come before it
    ${failures} =    Get Events    the pool    kind=phase    code=OUT_OF_MEMORY
    ${revision} =    Get Event    revision
    Length Should Be    ${{ [one for one in $failures if one['revision'] < ${revision}] }}    5

The hint is to lower context, parallel slots or the model's size
    Get Event    details.hint    matches    lower context, slots \\(parallel\\) or the model's size
