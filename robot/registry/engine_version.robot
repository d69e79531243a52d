*** Settings ***
Documentation       The engine's version is its own, and no part of the daemon's.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
A pool that was never loaded has no engine version
    [Tags]    B-REG-033
    Given a pool
    Then the pool shows engine_version null
    And every view of the pool shows the same engine_version

A configured engine version is shown before the first load
    [Tags]    B-REG-033
    Given a pool    engine_version="7.7"
    Then the pool shows engine_version 7.7

The daemon's version stays when the engine's changes
    [Tags]    B-REG-032
    Given a ready pool whose engine reports version 1.2.3
    Then the pool shows engine_version 1.2.3
    And the daemon's version is its own
    When the engine reports version 4.5.6
    And the pool is stopped
    And a caller waits 5 s for the preload of the pool
    Then the pool shows engine_version 4.5.6
    And every view of the pool shows the same engine_version
    And the handoff files of the pool agree with its status
    And the daemon's version is its own

A changed engine version in the config is shown, and nothing else changes
    [Tags]    B-REG-040    B-REG-101
    Given a ready pool    replicas=2    min_ready=2
    And a lease is held on the pool
    And the status of the pool is noted
    When the pool is changed in the config    engine_version="7.7"
    And the config is reloaded
    Then the reload reports the pool as changed in engine_version
    And the pool is ready
    And the pool shows engine_version 7.7
    And the status of the pool is as noted but for engine_version
    And the handoff files of the pool agree with its status

A changed engine version of a stopped pool is shown once it is Ready
    [Tags]    B-REG-040
    Given a pool    engine_version="7.7"
    And the pool shows phase stopped
    When the pool is changed in the config    engine_version="8.8"
    And the config is reloaded
    And a caller waits 5 s for the preload of the pool
    Then the pool shows    engine_version 8.8    ready true
    And the handoff files of the pool agree with its status

A version that changes while the engine loads is the engine's too
    [Tags]    B-REG-040    B-REG-101
    Given a pool whose engine needs 300 ms to load    engine_version="7.7"
    And the pool is preloaded
    And the pool reaches phase loading within 2 s
    When the pool is changed in the config    engine_version="8.8"
    And the config is reloaded
    Then the pool is in phase ready within 3 s
    And the pool shows engine_version 8.8
    And the handoff files of the pool agree with its status

An engine version taken out of the config is asked of the engine again
    [Tags]    B-REG-040
    Given a ready pool    engine_version="7.7"
    When the pool is changed in the config    engine_version=None
    And the config is reloaded
    Then the pool shows    engine_version simulated-1    within=1 s
    And the handoff files of the pool agree with its status


*** Keywords ***
The daemon's version is its own
    [Documentation]    The one of the installed program, in /health and in the metrics.
    A caller sends GET /health
    ${installed} =    Evaluate    __import__('pool_managerd').__version__
    Answer Field    version    ==    ${installed}
    Get Metric    build_info    equals    1    version=${installed}
