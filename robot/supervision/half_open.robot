*** Settings ***
Documentation       After its time an open circuit turns half-open: one trial start, which closes it or opens it again for longer.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision    OC-POOL-3011


*** Variables ***
&{ONE}      breaker.failures=1    restart.initial_ms=20 ms    restart.floor_ms=10 ms


*** Test Cases ***
After its time an open circuit turns half-open, and one trial start goes the way of any start
    [Tags]    B-SUPER-022    B-SUPER-023
    Given a ready pool    breaker.open_ms=400 ms    &{ONE}
    When the engine is killed
    Then the pool reaches phase half_open within 2 s
    And it came 400 ms after the circuit had opened
    And the pool becomes ready within 5 s
    And the pool then goes through circuit_open, half_open, preflight, starting, loading, ready
    And exactly 1 process of the engine was started
    And the pool shows restart_count 1

However many callers preload it, there is one trial for each replica
    [Tags]    B-SUPER-023
    Given a ready pool    replicas=2    load_ms=500 ms    breaker.open_ms=500 ms    &{ONE}
    And engine r0 shows    ready true    within=5 s
    And engine r1 shows    ready true    within=5 s
    When both engines are killed
    Then engine r0 shows    phase circuit_open    within=1 s
    And engine r1 shows    phase circuit_open    within=1 s
    And 40 callers preload the pool over and over until it is ready
    And engine r1 shows    ready true    within=5 s
    And exactly 1 process of engine r0 was started
    And exactly 1 process of engine r1 was started
    And the pool shows restart_count 2

A trial that stays Ready closes the circuit and its failures are forgotten
    [Tags]    B-SUPER-024
    Given a ready pool    breaker.open_ms=100 ms    breaker.stable_ms=500 ms    breaker.failures=2    restart.initial_ms=20 ms
    ...    restart.floor_ms=10 ms
    And for its next 1 start the engine exits with code 3 while loading
    When the engine is killed
    Then the breaker of the engine goes through open, half_open, closed within 5 s
    And it closed 500 ms after the trial was Ready
    And engine r0 shows    ready true    breaker.state closed    breaker.failures 0    breaker.driver_failures 0

A trial that fails opens the circuit for twice as long, up to a limit
    [Tags]    B-SUPER-025
    Given a ready pool    breaker.open_ms=80 ms    breaker.max_open_ms=200 ms    &{ONE}
    And for its next 3 starts the engine exits with code 3 while loading
    When the engine is killed
    Then the breaker of the engine goes through open, half_open, open, half_open, open, half_open, open, half_open within 10 s
    And it was open for 80, 160, 200 and 200 ms
    And exactly 4 processes of the engine were started
    And the pool becomes ready within 5 s

The usual numbers
    [Tags]    B-SUPER-022    B-SUPER-024    B-SUPER-025
    [Template]    The default of ${key} is ${value}
    breaker.open_ms    300000
    breaker.stable_ms    60000
    breaker.max_open_ms    3600000


*** Keywords ***
The default of ${key} is ${value}
    Default Should Be    ${key}    ${value}

Both engines are killed
    Kill All Engines

It came ${delay} after the circuit had opened
    ${opened} =    Get Events    the pool    since_act=True    kind=phase    to=circuit_open
    ${turned} =    Get Events    the pool    since_act=True    kind=phase    to=half_open
    Times Should Be Apart    ${opened}[0][at]    ${opened}[0][details][open_until]    ${delay}
    Times Should Be Apart    ${opened}[0][at]    ${turned}[0][at]    ${delay}

It closed ${delay} after the trial was Ready
    ${changes} =    Get Breaker Events    r0
    ${ready} =    Get Events    the pool    since_act=True    kind=phase    to=ready
    Times Should Be Apart    ${ready}[0][at]    ${changes}[-1][at]    ${delay}

It was open for ${a}, ${b}, ${c} and ${d} ms
    ${opened} =    Get Events    the pool    since_act=True    kind=phase    to=circuit_open
    FOR    ${one}    ${time}    IN ZIP    ${opened}    ${{ [${a}, ${b}, ${c}, ${d}] }}
        Times Should Be Apart    ${one}[at]    ${one}[details][open_until]    ${time} ms
    END
    Length Should Be    ${opened}    4

Times should be apart
    [Documentation]    By so much, and up to 100 ms more where something had to be started in between.
    [Arguments]    ${earlier}    ${later}    ${delay}
    ${gap} =    Evaluate
    ...    (datetime.datetime.fromisoformat($later) - datetime.datetime.fromisoformat($earlier)).total_seconds()
    ...    modules=datetime
    ${wanted} =    Evaluate    robot.utils.timestr_to_secs($delay)    modules=robot.utils
    Should Be True    ${wanted} - 0.02 <= ${gap} <= ${wanted} + 0.1    It was ${gap} s, not ${delay}.

${count:\d+} callers preload the pool over and over until it is ready
    [Documentation]    Any answer but an internal error will do.
    Start Calling Over And Over    POST    /v2/pools/{pool}/preload    callers=${count}
    Pool Should Become    the pool    ready    within=10 s
    Callers Should Have Got Only    200    202    409
