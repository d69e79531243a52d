*** Settings ***
Documentation       A reload brings a pool to another model, without a second copy of a model in GPU memory.
Resource            PoolManagerResources/scenario.resource
Test Tags           reload    OC-POOL-3001


*** Test Cases ***
The old engine is not stopped while a lease is active
    [Tags]    B-RELOAD-001
    Given a ready pool
    And a model file other.gguf
    And a lease is held on the pool
    And the pid of the engine is noted
    When the pool is reloaded to other.gguf    drain_deadline=10 s
    Then it answers 202
    And the pool reaches phase draining within 1 s
    And the pool stays in phase draining for 300 ms
    And the engine is still the same process
    When the lease is released
    Then the pool becomes ready within 10 s
    And the pool then goes through stopping, stopped, preflight, starting, loading, ready
    And the engine is another process

The old engine is gone and its memory free before the new one is spawned
    [Tags]    B-RELOAD-003
    Given a ready pool whose engine keeps its GPU memory for 400 ms after its end
    And a model file other.gguf
    And the pid of the engine is noted
    When the pool is reloaded to other.gguf
    Then the noted process of the engine is gone within 2 s
    And the pool is in phase preflight
    And the pid file of the engine does not exist
    And the pool pid file of the engine does not exist
    And the pool becomes ready within 10 s
    And the new engine was spawned 350 ms after the end of the old one at the earliest
    And the pid files name the running engine

The new engine runs the new model under the pool's old name
    [Tags]    B-RELOAD-004    B-RELOAD-006    B-RELOAD-009    OC-POOL-3020
    Given a ready pool
    And a model file other.gguf
    And the pid of the engine is noted
    And what identifies the pool is noted
    When a caller waits 10 s for the reload of the pool to other.gguf
    Then it answers 200
    And the pool shows    live true    ready true    phase ready    desired running    last_error null
    And the engine is another process
    And the command line of the engine names other.gguf
    And the pid files name the running engine
    And what identifies the pool is as before
    When a caller asks for a lease on the pool
    Then it answers 201
    And a completion of 3 tokens is answered by other.gguf

Status and handoff show the new model and the new version
    [Tags]    B-RELOAD-008    OC-POOL-3003
    Given a ready pool    version=one-1
    And a model file other.gguf
    And with model other.gguf the engine reports version two-2
    And status and handoff show small.gguf and version one-1
    When a caller waits 10 s for the reload of the pool to other.gguf
    Then it answers 200
    And status and handoff show other.gguf and version two-2

A reload is done only when the new engine is ready
    [Tags]    B-RELOAD-005
    Given a ready pool
    And a model file other.gguf
    And with model other.gguf the engine needs 400 ms to load
    When a caller waits 10 s for the reload of the pool to other.gguf
    Then it answers 200
    And it takes at least 400 ms
    And the answer's ready is true
    And the event stream reports it as done after the new engine was ready

A reload is not done by an engine that is not in GPU memory
    [Tags]    B-RELOAD-005    B-RELOAD-007    OC-POOL-3003
    Given a ready pool    needs=1 GiB
    And a model file hollow.gguf
    And with model hollow.gguf the engine holds no GPU memory
    When a caller waits 10 s for the reload of the pool to hollow.gguf
    Then it is refused with 502 RELOAD_FAILED
    And the error's details.cause is CPU_SPILLOVER
    And the error's details.restored is true
    And no event of kind reload comes within 0 s    to=done

A reload to the very model that runs changes nothing
    [Tags]    B-RELOAD-010
    Given a ready pool
    And the pid of the engine is noted
    When a caller waits 10 s for the reload of the pool to small.gguf
    Then it answers 200
    And an event of kind reload comes within 1 s    to=unchanged
    And the engine is still the same process
    And no event of kind phase comes within 0 s

A second reload to the new model changes nothing either
    [Tags]    B-RELOAD-010
    Given a ready pool
    And a model file other.gguf
    And a caller waits 10 s for the reload of the pool to other.gguf
    And the pid of the engine is noted
    When a caller waits 10 s for the reload of the pool to other.gguf
    Then it answers 200
    And an event of kind reload comes within 1 s    to=unchanged
    And the engine is still the same process


*** Keywords ***
The new engine was spawned ${time} after the end of the old one at the earliest
    [Documentation]    By the times of the phases.
    Time Between Phases    stopped    starting    >=    ${time}

The event stream reports it as done after the new engine was ready
    [Documentation]    By the revisions of both events.
    ${ready} =    Get Events    the pool    since_act=True    kind=phase    to=ready
    ${done} =    Get Events    the pool    since_act=True    kind=reload    to=done
    Should Be True    ${ready}[0][revision] < ${done}[0][revision]
