*** Settings ***
Documentation       Reloads can be counted and timed.
Resource            PoolManagerResources/scenario.resource
Test Tags           reload    OC-POOL-3030


*** Test Cases ***
A reload that succeeds is one observation and one success
    [Tags]    B-RELOAD-012
    Given a ready pool
    And a model file other.gguf
    And the metric reload_duration_seconds_count of the pool is noted
    And the metric reload_success_total of the pool is noted
    And the metric reload_failure_total of the pool is noted
    When a caller waits 10 s for the reload of the pool to other.gguf
    Then it answers 200
    And the metric reload_duration_seconds_count of the pool has risen by 1
    And the metric reload_success_total of the pool has risen by 1
    And the metric reload_failure_total of the pool has risen by 0

A reload that fails is one failure, by its cause
    [Tags]    B-RELOAD-013
    Given a ready pool
    And a model file bad.gguf
    And with model bad.gguf the engine exits with code 3 while loading
    And the metric reload_failure_total of the pool is noted    reason=ENGINE_EXITED
    And the metric reload_failure_total of the pool is noted    reason=MODEL_NOT_FOUND
    And the metric reload_success_total of the pool is noted
    When a caller waits 10 s for the reload of the pool to bad.gguf
    Then it is refused with 502 RELOAD_FAILED
    And the metric reload_failure_total of the pool has risen by 1    reason=ENGINE_EXITED
    When a caller waits 10 s for the reload of the pool to nowhere.gguf
    Then it is refused with 502 RELOAD_FAILED
    And the metric reload_failure_total of the pool has risen by 1    reason=MODEL_NOT_FOUND
    And the metric reload_failure_total of the pool has risen by 1    reason=ENGINE_EXITED
    And the metric reload_success_total of the pool has risen by 0

A reload that its drain stops is a failure, too
    [Tags]    B-RELOAD-013
    Given a ready pool
    And a model file other.gguf
    And a lease is held on the pool
    And the metric reload_failure_total of the pool is noted    reason=DRAIN_TIMEOUT
    When a caller waits 10 s for the reload of the pool to other.gguf    drain_deadline=100 ms
    Then it is refused with 504 DRAIN_TIMEOUT
    And the metric reload_failure_total of the pool has risen by 1    reason=DRAIN_TIMEOUT
