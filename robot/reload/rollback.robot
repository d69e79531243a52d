*** Settings ***
Documentation       A reload that fails brings the old model back, and says why it failed and whether it could.
Resource            PoolManagerResources/scenario.resource
Test Tags           reload    OC-POOL-3001


*** Test Cases ***
The old model answers after a failed reload, and the next reload succeeds
    [Tags]    B-RELOAD-011
    Given a ready pool
    And a model file bad.gguf
    And a model file other.gguf
    And with model bad.gguf the engine exits with code 3 while loading
    When a caller waits 10 s for the reload of the pool to bad.gguf
    Then it is refused with 502 RELOAD_FAILED
    And a completion of 3 tokens is answered by small.gguf
    When a caller waits 10 s for the reload of the pool to other.gguf
    Then it answers 200
    And a completion of 3 tokens is answered by other.gguf

After a failed reload everything is as it was
    [Tags]    B-RELOAD-008    B-RELOAD-009    OC-POOL-3003    OC-POOL-3020
    Given a ready pool    version=one-1
    And a model file bad.gguf
    And with model bad.gguf the engine reports version two-2 and exits with code 3 while loading
    And what identifies the pool is noted
    When a caller waits 10 s for the reload of the pool to bad.gguf
    Then it is refused with 502 RELOAD_FAILED
    And status and handoff show small.gguf and version one-1
    And what identifies the pool is as before
    And the pid files name the running engine

A drain that takes too long aborts the reload
    [Tags]    B-RELOAD-014
    Given a ready pool
    And a model file other.gguf
    And a lease is held on the pool
    And the pid of the engine is noted
    When a caller waits 10 s for the reload of the pool to other.gguf    drain_deadline=250 ms
    Then it is refused with 504 DRAIN_TIMEOUT
    And the error's details.restored is true
    And it takes at least 250 ms
    And the pool shows    ready true    draining false    active_leases 1
    And the engine is still the same process
    When the lease is renewed
    Then it answers 200
    When a caller asks for a lease on the pool
    Then it answers 201

When the old model does not come back either, the answer names both causes
    [Tags]    B-RELOAD-015    OC-POOL-3003
    Given a ready pool    restart.initial_ms=800 ms    restart.floor_ms=500 ms
    And a model file other.gguf
    And for its next 2 starts the engine exits with code 3 while loading
    When a caller waits 10 s for the reload of the pool to other.gguf
    Then it is refused with 502 RELOAD_FAILED
    And the error's details.cause is ENGINE_EXITED
    And the error's details.restore_cause is ENGINE_EXITED
    And the error's details.restored is false
    And the error names "exit code 3" and "the old model could not be brought back"
    And the pool shows    ready false    phase backoff    last_error.code ENGINE_EXITED
    And an event of kind restart_scheduled comes within 10 s
    And the pool becomes ready within 10 s
    And status and handoff show small.gguf and version simulated-1

The two causes are told apart
    [Tags]    B-RELOAD-015    OC-POOL-3003
    Given a model file old.gguf
    And a ready pool    model=models/old.gguf
    And a model file bad.gguf
    And with model bad.gguf the engine exits with code 3 while loading
    And Remove Model File    old.gguf
    When a caller waits 10 s for the reload of the pool to bad.gguf
    Then it is refused with 502 RELOAD_FAILED
    And the error's details.cause is ENGINE_EXITED
    And the error's details.restore_cause is MODEL_NOT_FOUND
    And the error's details.restored is false
    And the pool shows    ready false    phase failed    last_error.code MODEL_NOT_FOUND

The new model's failure is not the pool's
    [Tags]    B-RELOAD-016    OC-POOL-3011
    Given a ready pool    breaker.failures=2    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And a model file bad.gguf
    And the engine is killed
    And the pool becomes unready within 1 s
    And the pool becomes ready within 10 s
    And the pool shows    breaker.failures 1    breaker.state closed
    And with model bad.gguf the engine exits with code 3 while loading
    When a caller waits 10 s for the reload of the pool to bad.gguf
    Then it is refused with 502 RELOAD_FAILED
    And the pool shows    ready true    breaker.failures 1    breaker.state closed
    And no event of kind breaker comes within 0 s
