*** Settings ***
Documentation       The new model is judged before anything of the old engine is touched.
Resource            PoolManagerResources/scenario.resource
Test Tags           reload    OC-POOL-3002


*** Test Cases ***
A model that is not there leaves the old engine alone
    [Tags]    B-RELOAD-002
    Given a ready pool
    And a lease is held on the pool
    And the pid of the engine is noted
    When a caller waits 10 s for the reload of the pool to nowhere.gguf
    Then the reload is refused because of MODEL_NOT_FOUND and nothing was touched
    And the error names nowhere.gguf

A model file that is broken leaves the old engine alone
    [Tags]    B-RELOAD-002
    Given a ready pool
    And a lease is held on the pool
    And a model file broken.gguf that says "GGUF, but cut off"
    And the pid of the engine is noted
    When a caller waits 10 s for the reload of the pool to broken.gguf
    Then the reload is refused because of MODEL_NOT_FOUND and nothing was touched
    And the error names broken.gguf

A model that does not fit leaves the old engine alone
    [Tags]    B-RELOAD-002    B-RELOAD-007
    Given a GPU with 4 MiB
    And a ready pool
    And a lease is held on the pool
    And a model file big.gguf of 5 MiB
    And the pid of the engine is noted
    When a caller waits 10 s for the reload of the pool to big.gguf
    Then the reload is refused because of INSUFFICIENT_VRAM and nothing was touched
    And the error names the device and 5 MiB

What the replaced engine holds counts as free
    [Tags]    B-RELOAD-019
    Given a GPU with 8 GiB
    And a model file other.gguf
    And a ready pool that needs 6 GiB on the GPU
    When a caller waits 10 s for the reload of the pool to other.gguf
    Then it answers 200
    And the pool is ready
    And the GPU shows memory_used_bytes 6442450944

What another pool holds does not count as free
    [Tags]    B-RELOAD-019
    Given a GPU with 8 MiB
    And a ready pool    share_devices=true    gpu=gpu0
    And a ready pool named other    share_devices=true    gpu=gpu0    needs=5 MiB
    And a model file big.gguf of 4 MiB
    When a caller waits 10 s for the reload of pool pool to big.gguf
    Then it is refused with 502 RELOAD_FAILED
    And the error's details.cause is INSUFFICIENT_VRAM
    And pool pool is ready


*** Keywords ***
The reload is refused because of ${cause} and nothing was touched
    [Documentation]    RELOAD_FAILED with that cause; the old engine is the same process, was never drained, and its lease holds.
    Answer Should Be    502 RELOAD_FAILED
    Error Field    details.cause    ==    ${cause}
    Error Field    details.restored    ==    ${True}
    Engine Should Be The Same
    No Event Should Come    the pool    kind=phase
    Pool Should Show    the pool    ready true    live true    active_leases 1    replicas.0.last_error null
    Renew Lease
    Answer Should Be    200
