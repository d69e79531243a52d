*** Settings ***
Documentation       A failed engine is started again after a delay that grows with each failure in a row, within floor and cap.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision    OC-POOL-3011


*** Variables ***
# A fraction of the usual delays, so that four of them fit into a moment.
&{QUICK}        restart.initial_ms=60 ms    restart.floor_ms=10 ms
# What is announced and not waited for: so long that no two delays are the same by chance.
&{LONG}         restart.initial_ms=1 h    restart.max_ms=3 h


*** Test Cases ***
The first restart begins a second after the failure, give or take a tenth
    [Tags]    B-SUPER-010    B-SUPER-015    OC-POOL-3030
    Given a ready pool
    When the engine is killed
    Then an event of kind restart_scheduled comes within 1 s
    And the announced restart is the same in the status and in the log
    And the restarts of the pool wait 1 s, give or take a tenth
    And the pool reaches phase preflight within 2 s
    And 1 restart of the pool came within 100 ms of its announced time
    And the pool shows next_restart_at null

Each further failure doubles the delay
    [Tags]    B-SUPER-011    B-SUPER-015    OC-POOL-3030
    Given a ready pool    &{QUICK}
    And for its next 3 starts the engine exits with code 3 while loading
    When the engine is killed
    Then the restarts of the pool wait 60 ms, 120 ms, 240 ms, 480 ms, give or take a tenth
    And the pool becomes ready within 10 s
    And 4 restarts of the pool came within 100 ms of their announced times

The usual numbers
    [Tags]    B-SUPER-010    B-SUPER-011    B-SUPER-012    B-SUPER-014    B-SUPER-016    B-SUPER-017
    [Template]    The default of ${key} is ${value}
    restart.initial_ms    1000
    restart.factor    2
    restart.jitter    0.1
    restart.max_ms    60000
    restart.floor_ms    500
    restart.driver_factor    2
    restart.stable_ms    300000

No delay exceeds the cap
    [Tags]    B-SUPER-012
    Given a ready pool    restart.initial_ms=40 ms    restart.floor_ms=10 ms    restart.max_ms=100 ms    restart.factor=3
    ...    breaker.failures=50    restart.storm_open=50
    And for its next 4 starts the engine exits with code 3 while loading
    When the engine is killed
    Then the pool becomes ready within 10 s
    And 5 delays were announced, from the third on between 90 and 100 ms

No delay is shorter than the floor
    [Tags]    B-SUPER-016
    Given a ready pool    restart.initial_ms=10 ms
    When the engine is killed
    Then an event of kind restart_scheduled comes within 1 s
    And no delay was shorter than 500 ms
    And the pool becomes ready within 5 s
    And 1 restart of the pool came within 100 ms of its announced time

Many pools that fail at the same moment are not restarted at the same moment
    [Tags]    B-SUPER-013
    Given 8 ready pools    &{LONG}
    When the engines of all pools are killed at once
    Then their delays all differ, and lie between 54 and 66 minutes

After a stable time the next failure is the first again
    [Tags]    B-SUPER-014
    Given a ready pool    &{QUICK}    restart.stable_ms=400 ms
    And for its next 1 start the engine exits with code 3 while loading
    When the engine is killed
    Then the restarts of the pool wait 60 ms, 120 ms, give or take a tenth
    And the pool becomes ready within 5 s
    And the pool shows breaker.failures 2
    And the pool stays ready for 450 ms
    And the pool shows breaker.failures 0
    When the engine is killed
    Then the restarts of the pool wait 60 ms, give or take a tenth
    And the pool shows breaker.failures 1

A driver error waits twice as long as a crash would at that point
    [Tags]    B-SUPER-017    OC-POOL-3010
    [Template]    After ${crashes} crashes, a CUDA error waits ${delay}
    0    120 ms
    1    240 ms
    2    480 ms

A preload ends the waiting of all replicas at once
    [Tags]    B-SUPER-019
    Given a ready pool    replicas=2    restart.initial_ms=30 s    restart.max_ms=60 s
    And engine r0 shows    ready true    within=5 s
    And engine r1 shows    ready true    within=5 s
    When both engines are killed
    Then the pool is in phase backoff within 2 s
    And engine r1 shows    phase backoff    within=2 s
    When the pool is preloaded
    Then an event of kind phase comes within 500 ms    to=preflight    replica_id=r0
    And an event of kind phase comes within 500 ms    to=preflight    replica_id=r1
    And the pool becomes ready within 5 s
    And the pool shows    next_restart_at null    restart_count 0

A drain during a backoff cancels the restart
    [Tags]    B-SUPER-044
    Given a ready pool    restart.initial_ms=300 ms    restart.floor_ms=300 ms
    When the engine is killed
    Then the pool reaches phase backoff within 1 s
    When the pool is drained
    Then the pool is in phase stopped within 1 s
    And the pool shows    next_restart_at null    replicas.0.next_restart_at null
    And the pool stays in phase stopped for 450 ms
    And no engine process of the pool was started

A removal from the config during a backoff cancels the restart
    [Tags]    B-SUPER-044
    Given a ready pool    restart.initial_ms=300 ms    restart.floor_ms=300 ms
    When the engine is killed
    Then the pool reaches phase backoff within 1 s
    When the pool is removed from the config
    And the config is reloaded
    Then no event of kind phase comes within 450 ms    to=preflight
    And no process of the pool is left within 0 s


*** Keywords ***
The announced restart is the same in the status and in the log
    [Documentation]    With its delay, the count, and what resets it.
    Restart Should Be Shown As Announced
    ${at} =    Get Event    details.next_restart_at
    ${delay} =    Get Event    details.backoff_ms
    ${record} =    Daemon Log Should Have    pool=the pool    kind=restart_scheduled    level=warning
    Should Be Equal    ${record}[next_restart_at]    ${at}
    Should Be Equal    ${record}[backoff_ms]    ${delay}
    Should Be Equal As Integers    ${record}[crash_count]    1
    ${gauge} =    Get Metric    next_restart_timestamp_seconds    pool=the pool
    ${due} =    Evaluate    datetime.datetime.fromisoformat($at).timestamp()    modules=datetime
    Should Be True    abs(${gauge} - ${due}) < 0.002

The default of ${key} is ${value}
    Default Should Be    ${key}    ${value}

${count:\d+} delays were announced, from the third on between ${low:\d+} and ${high:\d+} ms
    ${delays} =    Get Restart Delays    the pool
    Length Should Be    ${delays}    ${count}
    Should Be True    all(${low} <= one <= ${high} for one in $delays[2:])    The delays are ${delays}.

No delay was shorter than ${floor:\d+} ms
    ${delays} =    Get Restart Delays    the pool
    Should Be True    min($delays) >= ${floor}    The delays are ${delays}.

The engines of all pools are killed at once
    Kill All Engines

Their delays all differ, and lie between ${low:\d+} and ${high:\d+} minutes
    VAR    ${delays} =    ${{ [] }}
    FOR    ${number}    IN RANGE    1    9
        ${one} =    Get Restart Delays    p${number}    at_least=1
        VAR    ${delays} =    ${{ $delays + $one }}
    END
    Length Should Be    ${{ set($delays) }}    8    The delays are ${delays}.
    Should Be True    all(${low} * 60000 <= one <= ${high} * 60000 for one in $delays)    The delays are ${delays}.

After ${crashes} crashes, a CUDA error waits ${delay}
    ${pool} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define Pool    ${pool}    &{QUICK}    restart.jitter=0
    Make Ready    pool ${pool}
    FOR    ${number}    IN RANGE    ${crashes}
        Kill Engine    ${pool}/r0
        ${wait} =    Evaluate    f'{60 * 2 ** ${number}} ms'
        Restart Delays Should Be    ${pool}    ${wait}    jitter=0
        Pool Should Become    ${pool}    ready    within=5 s
    END
    Engine Does    reports a CUDA error    ${pool}/r0
    Restart Delays Should Be    ${pool}    ${delay}    jitter=0
    Wait For Event    ${pool}    kind=restart_scheduled    details.crash_reason=cuda_error    within=5 s

Both engines are killed
    Kill Engine    r1
    Kill Engine    r0
