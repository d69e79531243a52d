*** Settings ***
Documentation       Failures before the engine's start, and of an engine that was Ready, set the last error too.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry    OC-POOL-3003    B-REG-010


*** Test Cases ***
Too little memory
    Given a GPU with 8 GiB of which 6 GiB are free
    And a pool that needs 7 GiB on it
    When the pool is preloaded
    Then the last error of the pool is INSUFFICIENT_VRAM
    And the last error of the pool tells what the event told
    And the error names the device, 7 GiB required and 6 GiB free

A model that is gone
    Given a model file gone.gguf
    And a pool    model=models/gone.gguf
    And a running daemon
    And the pool shows phase stopped
    When the model file gone.gguf is removed
    And the pool is preloaded
    Then the last error of the pool is MODEL_NOT_FOUND
    And the last error of the pool tells what the event told

An engine that hangs
    Given a ready pool    liveness.interval_ms=50 ms    liveness.probe_timeout_ms=50 ms    restart.initial_ms=30 s
    When the engine hangs
    Then the last error of the pool is HEALTH_CHECK_FAILED within 3 s
    And the last error of the pool tells what the event told

A lost GPU
    Given a GPU with 8 GiB
    And a ready pool    drain.deadline_ms=0
    When the GPU is lost
    Then the last error of the pool is GPU_UNAVAILABLE within 3 s
    And the last error of the pool tells what the event told


*** Keywords ***
The model file ${name} is removed
    [Documentation]    From the folder that models come from.
    Remove Model File    ${name}
