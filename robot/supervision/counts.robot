*** Settings ***
Documentation       What is counted: failures by their kind, and every restart that the supervisor made, for ever.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision    OC-POOL-3011    OC-POOL-3030


*** Variables ***
&{AT_ONCE}      restart.initial_ms=20 ms    restart.floor_ms=10 ms    restart.factor=1


*** Test Cases ***
Each counted failure raises one of two counts by one
    [Tags]    B-SUPER-008    B-SUPER-040    OC-POOL-3010
    [Template]    A ready engine that ${fails} leaves ${failures} failures and ${driver_failures} of the driver
    exits with code 3    1    0
    dies of SIGSEGV    1    0
    runs out of memory    1    0
    answers 500 to health checks    1    0
    reports a CUDA error    0    1
    exits with code 0    0    0

What was counted is known after a restart of the daemon
    [Tags]    B-SUPER-008    B-SUPER-031
    Given a daemon of its own    server.on_shutdown=leave
    And a ready pool    breaker.driver_failures=9    &{AT_ONCE}
    And the engine dies, reports a CUDA error, and dies again
    And the pool shows    restart_count 3    breaker.failures 2    breaker.driver_failures 1
    When the daemon is killed and started again
    Then the pool becomes ready within 10 s
    And the pool shows    restart_count 3    breaker.failures 2    breaker.driver_failures 1
    When the daemon is stopped and started again
    Then the pool becomes ready within 10 s
    And the pool shows    restart_count 3    breaker.failures 2    breaker.driver_failures 1

The supervisor's restarts are counted, an operator's starts are not
    [Tags]    B-SUPER-030
    Given a ready pool    restart.stable_ms=10 s    &{AT_ONCE}
    And the metric restart_total of the pool is noted
    And for its next 1 start the engine exits with code 3 while loading
    When the engine is killed
    Then the pool becomes ready within 5 s
    And the pool shows restart_count 2
    And the metric restart_total of the pool has risen by 2
    When the pool is stopped
    And the pool is preloaded
    Then the pool becomes ready within 5 s
    And the pool shows restart_count 2
    And the metric restart_total of the pool has risen by 2

A preload, a reset or a device that comes back: only the last is a restart of the supervisor's
    [Tags]    B-SUPER-030
    Given a ready pool    restart.initial_ms=30 s
    When the engine is killed
    Then the pool reaches phase backoff within 1 s
    When the pool is preloaded
    Then the pool becomes ready within 5 s
    And the pool shows restart_count 0
    When the engine is killed
    Then the pool reaches phase backoff within 1 s
    When the circuit of the pool is reset
    Then the pool becomes ready within 5 s
    And the pool shows restart_count 0
    When the GPU is lost
    Then the pool is in phase failed within 5 s
    When the GPU is well again
    Then the pool becomes ready within 10 s
    And the pool shows restart_count 1

The count of restarts never falls
    [Tags]    B-SUPER-031
    Given a ready pool    restart.stable_ms=100 ms    restart.rate_window_ms=300 ms    &{AT_ONCE}
    And the status is watched
    When the engine is killed
    Then the pool becomes ready within 5 s
    And the pool stays ready for 350 ms
    And the pool shows    restart_count 1    breaker.failures 0
    And the metric restart_rate of the pool is 0
    When the circuit of the pool is reset
    Then the pool shows restart_count 1
    When the pool is stopped
    And the pool is preloaded
    Then the pool becomes ready within 5 s
    And the pool shows restart_count 1
    And in every status restart_count was at least as high as before


*** Keywords ***
A ready engine that ${fails} leaves ${failures} failures and ${driver_failures} of the driver
    ${pool} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define Pool    ${pool}    restart.initial_ms=30 s    restart.on_exit_zero=restart    liveness.interval_ms=50 ms
    ...    stop.grace_ms=100 ms
    Make Ready    pool ${pool}
    Engine Does    ${fails}    ${pool}/r0
    Pool Should Become    ${pool}    in phase backoff    within=5 s
    Pool Should Show    ${pool}    breaker.failures ${failures}    breaker.driver_failures ${driver_failures}
    ...    replicas.0.breaker.failures ${failures}    breaker.state closed

The engine dies, reports a CUDA error, and dies again
    Kill Engine
    Pool Should Become    the pool    ready    within=5 s
    Engine Does    reports a CUDA error
    Pool Should Become    the pool    unready    within=5 s
    Pool Should Become    the pool    ready    within=5 s
    Kill Engine
    Pool Should Become    the pool    ready    within=5 s

In every status restart_count was at least as high as before
    Every Status Should Count Up    restart_count
