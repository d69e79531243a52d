*** Settings ***
Documentation    Loads can be counted: those that ended Ready, and those that failed, each by its reason.

Resource         PoolManagerResources/scenario.resource

Test Tags        observability    OC-POOL-3030


*** Variables ***
&{QUICK}    restart.initial_ms=50 ms    restart.floor_ms=50 ms    restart.jitter=0


*** Test Cases ***
Each load that ends Ready is one success
    [Tags]    B-METRICS-001
    Given a pool    &{QUICK}
    Then the metric preload_success_total of the pool is 0    replica_id=r0    engine=simulated
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    And the metric preload_success_total of the pool is 1    replica_id=r0    engine=simulated
    When the engine is killed
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    And the metric preload_success_total of the pool is 2    replica_id=r0    engine=simulated
    And the metric preload_duration_seconds_count of the pool is 2    engine=simulated
    And the metric preload_failure_total of the pool is 0

Each replica has a count of its own, under the pool's kind of engine
    [Tags]    B-METRICS-001
    Given a ready pool of kind vllm    replicas=2    min_ready=2    &{QUICK}
    When engine r1 is killed
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    And the metric preload_success_total of the pool is 1    replica_id=r0    engine=vllm
    And the metric preload_success_total of the pool is 2    replica_id=r1    engine=vllm

An engine that is adopted was not loaded once more
    [Tags]    B-METRICS-001
    Given a daemon of its own
    And a ready pool
    When the daemon is killed and started again
    Then the pool becomes ready within 10 s
    And the metric preload_success_total of the pool is 0    replica_id=r0    engine=simulated
    And the metric adopted_total of the pool is 1    replica_id=r0

A load that fails twice and then succeeds is two failures and one success
    [Tags]    B-METRICS-002
    Given a pool    &{QUICK}
    And for its next 2 starts the engine exits with code 3 while loading
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    And the metric preload_failure_total of the pool is 2    replica_id=r0    engine=simulated    reason=ENGINE_EXITED
    And the metric preload_failure_total of the pool is 2
    And the metric preload_success_total of the pool is 1
