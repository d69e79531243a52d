*** Settings ***
Documentation    Restarts and their delays, counted.

Resource         PoolManagerResources/scenario.resource

Test Tags        observability    OC-POOL-3011    OC-POOL-3030


*** Variables ***
&{QUICK}    restart.initial_ms=60 ms    restart.floor_ms=50 ms    restart.jitter=0    breaker.failures=9


*** Test Cases ***
Each supervised restart counts one for its replica, and nothing else does
    [Tags]    B-METRICS-006
    Given a ready pool    replicas=2    min_ready=2    &{QUICK}
    And the restart counts are watched
    Then the metric restart_total of the pool is 0    replica_id=r0
    When engine r0 is killed
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    And the metric restart_total of the pool is 1    replica_id=r0
    And the metric restart_total of the pool is 0    replica_id=r1
    When engine r0 is killed
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    And the metric restart_total of the pool is 2    replica_id=r0
    When the pool is stopped
    And a caller waits 5 s for the preload of the pool
    Then it answers 200
    And the metric restart_total of the pool is 2    replica_id=r0
    And the metric restart_total of the pool is 0    replica_id=r1
    And each restart is one that an event tells of
    And no restart count ever fell

The backoff is a histogram with one observation for each restart that was scheduled
    [Tags]    B-METRICS-007
    Given a pool    &{QUICK}
    And for its next 3 starts the engine exits with code 3 while loading
    Then the metric backoff_delay_seconds_count of the pool is 0
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    And the metric backoff_delay_seconds_count of the pool is 3
    And the metric restart_scheduled_total of the pool is 3    replica_id=r0    crash_reason=exit_code
    And its count and sum are those of the restarts that events tell of
    When the engine is killed by SIGSEGV
    Then the pool becomes unready within 3 s
    And the metric restart_scheduled_total of the pool is 1    replica_id=r0    crash_reason=SIGSEGV
    And the metric backoff_delay_seconds_count of the pool is 4
    And its count and sum are those of the restarts that events tell of
    And the metrics are well formed

What waits for memory is no scheduled restart
    [Tags]    B-METRICS-007
    Given a pool    vram_bytes=9GiB    &{QUICK}
    When the pool is preloaded
    Then the preload fails within 3 s with INSUFFICIENT_VRAM
    And the metric backoff_delay_seconds_count of the pool is 0
    And the metric restart_scheduled_total of the pool does not exist

A breaker that opens is counted, and its state shown
    [Tags]    B-METRICS-007
    Given a pool whose engine exits with code 3 while loading    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    ...    breaker.failures=2    breaker.open_ms=30 s
    When the pool is preloaded
    Then the pool reaches phase circuit_open within 10 s
    And the metric circuit_breaker_state of the pool is 1    replica_id=r0
    And the metric circuit_breaker_open_total of the pool is 1    replica_id=r0
    And the metric backoff_delay_seconds_count of the pool is 1
    When the circuit of the pool is reset
    Then an event of kind breaker comes within 5 s    to=closed


*** Keywords ***
The restart counts are watched
    [Documentation]    In the background, until it is asked for.
    Start Sampling Metric    restart_total    pool=the pool

No restart count ever fell
    Sampled Metric Should Never Have Fallen    restart_total

Each restart is one that an event tells of
    ${told} =    Get Event Count    the pool    kind=phase    details.restart=true
    Get Metric    restart_total    equals    ${told}    pool=the pool

Its count and sum are those of the restarts that events tell of
    ${events} =    Get Events    the pool    kind=restart_scheduled
    Get Metric    backoff_delay_seconds_count    equals    ${{ len($events) }}    pool=the pool
    ${sum} =    Get Metric    backoff_delay_seconds_sum    pool=the pool
    ${told} =    Evaluate    sum(one['details']['backoff_ms'] for one in $events) / 1000
    Should Be True    abs(${sum} - ${told}) < 1e-6
