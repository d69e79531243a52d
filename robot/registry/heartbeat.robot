*** Settings ***
Documentation       Each good answer of an engine to a probe is a heartbeat, which a scraper can read.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
Each liveness probe moves the heartbeat to its own time
    [Tags]    B-REG-020
    Given a ready pool    liveness.interval_ms=150 ms
    Then the heartbeat of the engine moves with each of 4 probes
    And the heartbeat of the engine is at most 1 s old

Each replica has a heartbeat of its own
    [Tags]    B-REG-020
    Given a ready pool    replicas=2    min_ready=2    liveness.interval_ms=100 ms    restart.initial_ms=30 s
    Then the heartbeat of engine r0 moves with each of 2 probes
    And the heartbeat of engine r1 moves with each of 2 probes
    When engine r1 is killed
    Then the pool becomes unready within 2 s
    And engine r1 has no heartbeat
    And the heartbeat of engine r0 is at most 1100 ms old

A heartbeat is never older than the interval and a second
    [Tags]    B-REG-021
    Given a ready pool    liveness.interval_ms=100 ms
    Then the heartbeat of the engine stays at most 1100 ms old for 1300 ms

The default interval is 10 s
    [Tags]    B-REG-021
    When the operator runs pool-managerd example-config
    Then it exits with 0
    And the answer names \# interval_ms = 10000

An engine that has not answered yet has no heartbeat
    [Tags]    B-REG-022
    Given a pool whose engine needs 300 ms to listen
    Then the engine has no heartbeat
    When the pool is preloaded
    Then the pool reaches phase loading within 2 s
    And the engine has no heartbeat
    And the pool becomes ready within 3 s
    And the heartbeat of the engine is at most 1 s old

An engine that says that it is loading has no heartbeat
    [Tags]    B-REG-022
    Given a pool whose engine never becomes ready
    When the pool is preloaded
    Then the pool reaches phase loading within 2 s
    And the engine has no heartbeat
    When the pool is stopped
    Then the engine has no heartbeat

A pool that has just become Ready has a fresh heartbeat
    [Tags]    B-REG-106
    Given a pool
    When the pool is preloaded
    Then the pool becomes ready within 3 s
    And the heartbeat of the engine is at most 1000 ms old
