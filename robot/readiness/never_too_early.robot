*** Settings ***
Documentation       A pool is never Ready before its engine said so, on any surface.
Resource            PoolManagerResources/scenario.resource
Test Tags           readiness    OC-POOL-3001


*** Test Cases ***
A slow engine is not Ready while it loads
    [Tags]    B-PRELOAD-020    B-PRELOAD-022    B-RDY-005
    Given a pool
    And the engine never becomes ready
    And all surfaces are watched
    When the pool is preloaded
    And every surface has been seen 3 times while it loads, the quick ones 20 times
    And the engine behaves well again
    Then the pool becomes ready within 5 s
    And no surface reports the pool ready before its engine answered
    And while it loaded its status was live and not ready

The handoff file appears only after the engine's answer, at every start
    [Tags]    B-PRELOAD-022
    Given a pool whose engine needs 100 ms to load
    Then the pool can be preloaded and stopped 3 times, and the file never came before the good answer

Every change to Ready is earned
    [Tags]    B-PRELOAD-021
    Given a model file other.gguf
    And a pool named chat    replicas=2    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And a pool named code
    And every pool has been preloaded
    And engine r1 of pool chat is killed
    And engine r1 of pool chat is back
    And pool code is stopped
    And pool code has been preloaded
    When a caller waits 10 s for the reload of pool chat to other.gguf
    Then it answers 200
    And the changes to Ready of these 6 starts were all earned

An adopted engine earns it too
    [Tags]    B-PRELOAD-021
    Given a daemon of its own
    And a ready pool
    When the daemon is killed and started again
    Then the pool becomes ready within 20 s
    And Every Ready Should Be Earned    at_least=2

The status says Ready soon after the engine does
    [Tags]    B-PRELOAD-023    OC-POOL-3003
    Given a pool whose engine needs 300 ms to load
    And the status is watched
    When the pool is preloaded
    Then the pool becomes ready within 5 s
    And live true, ready true and phase ready were shown within 500 ms of the engine's first good answer


*** Keywords ***
Every surface has been seen ${few} times while it loads, the quick ones ${many} times
    Wait Until Surfaces Were Seen    ${few}    ${many}

While it loaded its status was live and not ready
    Status Should Have Been Live While Loading

The pool can be preloaded and stopped ${times} times, and the file never came before the good answer
    FOR    ${_}    IN RANGE    ${times}
        Watch For Handoff File
        Make Ready    the pool
        Handoff File Should Have Come After Engine
        Stop Pool
    END

Engine r1 of pool chat is back
    Use Pool    chat
    Wait Until Expression
    ...    status['replicas'][1]['restart_count'] == 1 and status['replicas'][1]['ready']
    ...    within=10 s

The changes to Ready of these ${count} starts were all earned
    Every Ready Should Be Earned    at_least=${count}

Live true, ready true and phase ready were shown within ${time} of the engine's first good answer
    Status Should Have Shown Ready Within    ${time}
