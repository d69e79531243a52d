*** Settings ***
Documentation       What an engine was measured to hold is remembered by model, engine version and flags, and counts at its next start.
Resource            PoolManagerResources/scenario.resource
Test Tags           memory    OC-POOL-3002


*** Test Cases ***
An engine that nobody knows the need of is known once it has run
    [Tags]    B-MEM-001    B-MEM-013
    Given a daemon of its own
    And a GPU named card with 8 GiB
    And a pool of kind command whose engine holds 5 GiB of GPU memory    gpu=card
    When a caller waits 10 s for the preload of the pool
    Then the pool shows    ready true    vram.required_bytes null    vram.used_bytes 5368709120
    When the pool is stopped
    And the daemon is stopped and started again
    And another program holds 4 GiB of GPU card
    And the pool is preloaded
    Then the preload fails within 1 s with INSUFFICIENT_VRAM
    And the error names GPU card, 5 GiB required and 4 GiB free
    And the pool shows    vram.required_bytes 5368709120
    And no engine process was started
    When the plan is made
    Then the plan says
    ...    pool | need_bytes | basis | fits
    ...    the pool | 5 GiB | measured | false

What was measured counts where it is more than the model says, for these flags alone
    [Tags]    B-MEM-001    B-MEM-004
    Given a GPU named card with 16 GiB
    And a GGUF model plain.gguf with 2 GiB of weights and 64 KiB of KV cache per token
    And a pool of kind llamacpp whose engine holds 6 GiB of GPU memory    model=models/plain.gguf    gpu=card    context=512    slots=1
    And the pool has been preloaded
    When the pool is stopped
    And the pool is preloaded
    Then the pool becomes ready within 5 s
    And the pool shows    vram.required_bytes 6442450944
    And GPU card shows    memory_reserved_bytes 6 GiB
    When the pool is changed in the config    context=1024
    And the config is reloaded
    Then the pool becomes ready within 10 s
    And its required bytes are less than 3 GiB


*** Keywords ***
Its required bytes are less than ${size}
    Get Pool Field    the pool    vram.required_bytes    <    ${{ 3 << 30 }}
    Should Be Equal    ${size}    3 GiB
