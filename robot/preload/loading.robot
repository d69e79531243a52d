*** Settings ***
Documentation       What a preload starts, and what can be seen of it while it loads.
Resource            PoolManagerResources/scenario.resource
Test Tags           preload


*** Test Cases ***
A preload takes a pool from stopped to ready
    [Tags]    B-PRELOAD-005    OC-POOL-3001
    Given a GPU with 8 GiB
    And a model file seven.gguf
    And a pool that needs 6 GiB on it    model=models/seven.gguf
    And the pool is in phase stopped
    And no engine process was started
    When a caller waits 5 s for the preload of the pool
    Then it answers 200
    And the pool shows    phase ready    ready true    live true    desired running    last_error null
    And the pool goes through preflight, starting, loading, ready

Only the required keys make a pool that loads
    [Tags]    B-PRELOAD-005    OC-POOL-3001
    Given a daemon of its own    gpus=1
    And a model file small.gguf
    And the config file says
    ...    [server]    http = "{http}"    grpc = "{grpc}"    state_dir = "{state}"
    ...    [devices]    source = "simulated"    simulated_dir = "{devices}"
    ...    [[pool]]    id = "pool"    engine = "simulated"    model = "models/small.gguf"
    When the daemon is started
    Then the only pool becomes ready within 20 s
    And it went from stopped to ready

The engine is the program that the config names
    [Tags]    B-PRELOAD-001    OC-POOL-3001
    ${binary} =    Create Engine Binary    my-engine
    Given a ready pool    binary=${binary}
    Then the engine's process shows exe ${binary}

The command line holds the pool's own flags as they are
    [Tags]    B-PRELOAD-002    OC-POOL-3001
    VAR    @{flags} =    --flash-attn    on    --alias    a b${SPACE * 2}c    --n-predict=64    --seed    -1
    ...    --grüße    "x" \\ 'y' $HOME    --seed    7    --empty    ${EMPTY}
    VAR    ${args} =    ${{ json.dumps($flags) }}
    Given a ready pool    args=${args}    slots=3    context=2048
    Then the command line of the engine has    @{flags}
    And the command line of the engine has    --slots    3
    And the command line of the engine has    --context    2048
    And the command line of the engine has    --host    127.0.0.1

What the engine says while it loads is in its own log
    [Tags]    B-PRELOAD-003
    Given a pool whose engine never becomes ready
    And for its next 1 start the engine logs "weights by stdout" to stdout and logs "weights by stderr" to stderr
    When the pool is preloaded
    Then the pool reaches phase loading within 3 s
    And the log of the engine has "weights by stdout" within 3 s
    And the log of the engine has "weights by stderr" within 3 s
    And the pool is in phase loading
    And the daemon's own output does not have "weights by"

The pid files are there while the engine still loads
    [Tags]    B-PRELOAD-004    OC-POOL-3001
    Given a pool whose engine never becomes ready    replicas=2
    When the pool is preloaded
    Then the pool reaches phase loading within 3 s
    And the pid file of engine r0 exists
    And the pid file of engine r1 exists
    And the pool pid file of the engine exists
    And each pid file names its own engine
    And the pool is in phase loading
    And no engine has answered its readiness check with 200

The way to ready is in the event stream under the caller's correlation id
    [Tags]    B-PRELOAD-047    OC-POOL-3001    OC-POOL-3003
    Given a pool whose engine needs 150 ms to load
    When a caller preloads the pool under the correlation id nightly-42
    Then the pool becomes ready within 5 s
    And the pool then goes through preflight, starting, loading, ready
    And each event of that preload has its time and the correlation id nightly-42


*** Keywords ***
The only pool becomes ready within ${time}
    Wait For Event    pool    within=${time}    kind=pool_ready

It went from stopped to ready
    ${events} =    Get Events    pool    kind=phase
    VAR    ${phases} =    ${{ [one['to'] for one in $events] }}
    Should Be Equal    ${events}[0][from]    stopped
    Should Be Equal    ${phases}    ${{ ['preflight', 'starting', 'loading', 'ready'] }}
    Get Pool Field    pool    ready    ==    ${True}

The engine's process shows ${fact} ${value}
    Get Engine Process    ${fact}    ==    ${value}

The daemon's own output does not have "${text}"
    ${output} =    Get Daemon Output
    Should Not Contain    ${output}    ${text}

Each pid file names its own engine
    FOR    ${engine}    IN    engine r0    engine r1
        ${pid} =    Get Engine Pid    ${engine}
        ${text} =    Get Pid File    ${engine}
        Should Be Equal As Integers    ${text.strip()}    ${pid}
    END
    ${pid} =    Get Engine Pid    engine r0
    ${text} =    Get Pid File    of_pool=True
    Should Be Equal As Integers    ${text.strip()}    ${pid}

No engine has answered its readiness check with 200
    FOR    ${engine}    IN    engine r0    engine r1
        ${requests} =    Get Engine Requests    ${engine}
        Should Be Empty    ${{ [one for one in $requests if one['status'] == 200] }}
    END

A caller preloads the pool under the correlation id ${id}
    Preload Pool    the pool    correlation_id=${id}

Each event of that preload has its time and the correlation id ${id}
    ${events} =    Get Events    the pool    since_act=True
    Should Be True    len($events) >= 5
    FOR    ${event}    IN    @{events}
        Should Be Equal    ${event}[correlation_id]    ${id}    ${event}
        Should Match Regexp    ${event}[at]    ^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$
    END
    VAR    ${times} =    ${{ [one['at'] for one in $events] }}
    Should Be Equal    ${times}    ${{ sorted($times) }}
