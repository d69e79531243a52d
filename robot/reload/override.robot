*** Settings ***
Documentation       The model of a reload stays in force until the config names another one.
Resource            PoolManagerResources/scenario.resource
Test Tags           reload    OC-POOL-3001


*** Test Cases ***
A crash of the engine does not bring the config's model back
    [Tags]    B-RELOAD-017
    Given a ready pool    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And a model file other.gguf
    And a caller waits 10 s for the reload of the pool to other.gguf
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the pool becomes ready within 10 s
    And the pool runs other.gguf

A config reload that leaves the model alone does not bring it back
    [Tags]    B-RELOAD-017
    Given a ready pool
    And a model file other.gguf
    And a caller waits 10 s for the reload of the pool to other.gguf
    When the pool is changed in the config    slots=2
    And the config is reloaded
    Then the reload reports the pool as changed in slots
    And Wait Until Expression    status['ready'] and status['slots_total'] == 2    within=5 s
    And the pool runs other.gguf

A stop and a preload do not bring it back
    [Tags]    B-RELOAD-017
    Given a ready pool
    And a model file other.gguf
    And a caller waits 10 s for the reload of the pool to other.gguf
    When the pool is stopped
    And a caller waits 10 s for the preload of the pool
    Then the pool runs other.gguf

Restarts of the daemon do not bring it back
    [Tags]    B-RELOAD-017
    Given a daemon of its own
    And a ready pool    preload=True
    And a model file other.gguf
    And a caller waits 10 s for the reload of the pool to other.gguf
    And the pid of the engine is noted
    When the daemon is killed and started again
    Then the pool is in phase ready within 10 s
    And the engine is still the same process
    And the pool runs other.gguf
    When the daemon is stopped and started again
    Then the pool is in phase ready within 10 s
    And the adopted engine has ended, and another one runs
    And the pool runs other.gguf

A config that names another model ends the override
    [Tags]    B-RELOAD-018
    Given a ready pool    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And a model file other.gguf
    And a model file third.gguf
    And a caller waits 10 s for the reload of the pool to other.gguf
    When the pool is changed in the config    model=models/third.gguf
    And the config is reloaded
    Then the reload reports the pool as changed in model
    And the pool becomes ready within 10 s
    And the pool runs third.gguf
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the pool becomes ready within 10 s
    And the pool runs third.gguf


*** Keywords ***
The adopted engine has ended, and another one runs
    [Documentation]    Its parent was killed, so that it is for the host's first process to bury it.
    ${old} =    Get Events    the pool    kind=adopted
    ${pid} =    Get Engine Pid
    Should Not Be Equal    ${pid}    ${old}[-1][details][pid]
    Process Should Be Gone    ${old}[-1][details][pid]    zombie_allowed=True

The pool runs ${model}
    [Documentation]    Its status, its handoff file and its engine's command line say so.
    Status and handoff show ${model} and version simulated-1
    The command line of the engine names ${model}
