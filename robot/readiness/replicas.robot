*** Settings ***
Documentation       A pool of several replicas: when it is Ready, and what its status makes of them.
Resource            PoolManagerResources/scenario.resource
Test Tags           readiness


*** Test Cases ***
A pool is Ready while min_ready of its replicas are, whatever the breakers of the others say
    [Tags]    B-RDY-006    OC-POOL-3001
    Given a ready pool    replicas=3    min_ready=2    breaker.failures=1
    And every replica is ready
    When engine r1 is killed
    Then engine r1 shows phase circuit_open and breaker open
    And the pool stays ready for 200 ms
    When engine r0 is killed
    Then the pool becomes unready within 500 ms
    And the pool shows    ready false    phase circuit_open    replicas.2.ready true

One Ready replica is enough unless the config says otherwise
    [Tags]    B-RDY-006    OC-POOL-3001
    Given a pool    replicas=2    restart.initial_ms=30 s
    And engine r0 never becomes ready
    When the pool is preloaded
    Then the pool becomes ready within 5 s
    And the pool shows    ready true    phase ready    replicas.0.phase loading    replicas.1.phase ready
    When engine r1 is killed
    Then the pool becomes unready within 500 ms
    And Default Should Be    min_ready    1

With min_ready 2 the first Ready replica is not enough
    [Tags]    B-RDY-006    OC-POOL-3001
    Given a pool    replicas=2    min_ready=2
    And engine r0 needs 1200 ms to load
    And all surfaces are watched
    When the pool is preloaded
    Then engine r1 becomes ready
    And the pool shows    ready false    phase loading
    And the pool becomes ready within 5 s
    And no pool_ready event came before both replicas were ready

The status shows one failed replica of a Ready pool
    [Tags]    B-RDY-007    OC-POOL-3003
    Given a ready pool    replicas=2    restart.initial_ms=100 ms    restart.floor_ms=50 ms    restart.factor=100
    And every replica is ready
    When engine r1 is killed
    And engine r1 is back after 1 restart
    And engine r1 is killed by SIGSEGV
    Then engine r1 shows phase backoff and breaker closed
    And the pool shows    ready true    phase ready    restart_count 1
    And the pool shows    replicas.0.phase ready    replicas.0.restart_count 0    replicas.0.last_error null
    And the pool shows    replicas.0.breaker.failures 0    replicas.0.live true
    And the pool shows    replicas.1.phase backoff    replicas.1.restart_count 1    replicas.1.pid null
    And the pool shows    replicas.1.breaker.failures 2    replicas.1.last_error.code ENGINE_EXITED
    And the pool shows    replicas.1.last_error.details.signal SIGSEGV    replicas.1.live false
    And the pid of r0 in the status is that of its process

What the pool shows always follows from its replicas
    [Tags]    B-RDY-012    B-RDY-013    OC-POOL-3003
    Given a ready pool
    ...    replicas=3
    ...    min_ready=2
    ...    restart.initial_ms=60 ms
    ...    restart.floor_ms=60 ms
    ...    restart.factor=1
    ...    breaker.failures=3
    ...    breaker.open_ms=30 s
    ...    load_ms=60 ms
    ...    term_ms=60 ms
    ...    stop.grace_ms=1 s
    And every replica is ready
    And the status is watched
    When engine r0 is killed
    And engine r1 is killed by SIGSEGV
    And the pool is ready within 10 s
    And every replica is ready
    And engine r0 exits with code 3
    And engine r2 exits with code 0
    And engine r0 is back after 2 restarts
    And engine r1 is killed
    And engine r0 exits with code 3
    And engine r0 shows phase circuit_open and breaker open
    And the pool is stopped
    Then every status followed from its replicas, in 8 combinations of phases at least


*** Keywords ***
Every replica is ready
    Wait Until Expression    all(one['ready'] for one in status['replicas'])    within=10 s

Engine ${replica:r\d} is back after ${count} restart${s:s?}
    VAR    ${one} =    status['replicas'][${replica[1]}]
    Wait Until Expression    ${one}\['restart_count'] == ${count} and ${one}\['ready']    within=10 s

Engine ${replica:r\d} becomes ready
    Wait Until Expression    status['replicas'][${replica[1]}]['ready']    within=5 s

Engine ${replica:r\d} shows phase ${phase} and breaker ${state}
    VAR    ${one} =    replicas.${replica[1]}
    Pool Should Show    the pool    ${one}.phase ${phase}    ${one}.breaker.state ${state}    within=5 s

No pool_ready event came before both replicas were ready
    ${events} =    Get Events    the pool    since_act=True
    VAR    ${order} =    ${{ [one['kind'] for one in $events if one['to'] == 'ready' and one['kind'] != 'preload'] }}
    Should Be Equal    ${order}    ${{ ['phase', 'phase', 'pool_ready'] }}

The pid of r0 in the status is that of its process
    ${pid} =    Get Replica Field    r0    pid
    Process Should Live    ${pid}
    ${text} =    Get Pid File    engine r0
    Should Be Equal As Integers    ${text.strip()}    ${pid}

The pool is ready within ${time}
    Wait Until Pool Is Ready    the pool    ${time}

Every status followed from its replicas, in ${count} combinations of phases at least
    Every Status Should Follow From Its Replicas    at_least=${count}
