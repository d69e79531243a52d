*** Settings ***
Documentation       A pool that does not fit never starts a process; it is told at once which device is short of how much.
Resource            PoolManagerResources/scenario.resource
Test Tags           memory    OC-POOL-3002


*** Test Cases ***
A need above the free memory is refused at once, naming device, required and free bytes
    [Tags]    B-MEM-001    B-MEM-003
    Given a GPU with 8 GiB of which 6 GiB are free
    And a pool that needs 7 GiB on it
    And the devices are known
    When the pool is preloaded
    Then the preload fails within 100 ms with INSUFFICIENT_VRAM
    And the error names the device, 7 GiB required and 6 GiB free
    And the error's details.required_bytes is 7516192768
    And the error's details.free_bytes is 6442450944
    And the pool goes through preflight, backoff
    And no engine process was started

A caller that waits is refused as quickly
    [Tags]    B-MEM-001    B-MEM-003
    Given a GPU with 8 GiB of which 6 GiB are free
    And a pool that needs 7 GiB on it
    And the devices are known
    When a caller waits 5 s for the preload of the pool
    Then it is refused within 100 ms with INSUFFICIENT_VRAM
    And the error names the device, 7 GiB required and 6 GiB free
    And no engine process was started

A model of any size is refused as quickly
    [Tags]    B-MEM-003
    Given a GPU with 80 GiB
    And a GGUF model huge.gguf with 3000 GiB of weights and 64 KiB of KV cache per token
    And a pool of kind llamacpp    model=models/huge.gguf    gpu=the GPU
    And the devices are known
    When the pool is preloaded
    Then the preload fails within 100 ms with INSUFFICIENT_VRAM
    And the error names the device, 80 GiB free
    And no engine process was started

What others hold is not free, and the largest of them is named by pid
    [Tags]    B-MEM-011
    Given a GPU with 8 GiB
    And another program holds 1 GiB of the GPU
    And a third program holds 3 GiB of the GPU
    And a pool that needs 5 GiB on it
    When the pool is preloaded
    Then the preload fails within 1 s with INSUFFICIENT_VRAM
    And the error names 5 GiB required and 4 GiB free
    And the error names the third program with its pid and 3 GiB

The overhead stays free on each device
    [Tags]    B-MEM-016
    Given a daemon of its own    devices.overhead_bytes=None
    And a GPU with 8 GiB
    And a pool named exact that needs 7.5 GiB on it
    And a GPU named other with 8 GiB
    And a pool named over that needs 7.501 GiB on GPU other
    When every pool is preloaded
    Then pool exact becomes ready within 5 s
    And the preload of pool over fails within 5 s with INSUFFICIENT_VRAM
    And the error names GPU other, 8 GiB free, 512 MiB

A pool that waits for memory shows what it needs, what is missing where, and when it will be tried again
    [Tags]    B-MEM-013    OC-POOL-3003
    Given a GPU named big with 8 GiB
    And a GPU named small with 4 GiB of which 1 GiB are free
    And a pool on GPUs big and small    tensor_split=[3, 1]    vram_bytes=6 GiB    restart.initial_ms=20 s    restart.floor_ms=20 s
    When the pool is preloaded
    Then the preload fails within 1 s with INSUFFICIENT_VRAM
    And the pool shows    phase backoff    vram.required_bytes 6442450944    vram.used_bytes 0
    And its last error says that 512 MiB are missing on GPU small, and nothing on GPU big
    And its next attempt is in 15 to 25 s

A configured need is checked and reserved instead of the computed one, for each replica
    [Tags]    B-MEM-014
    Given a GPU named first with 8 GiB
    And a GPU named second with 8 GiB
    And a GGUF model big.gguf with 30 GiB of weights and 64 KiB of KV cache per token
    And a pool of kind llamacpp whose engine holds 3 GiB of GPU memory    model=models/big.gguf    vram_bytes=3 GiB    gpu=first+second
    ...    replicas=2    min_ready=2
    When a caller waits 5 s for the preload of the pool
    Then the pool shows    ready true    vram.required_bytes 6442450944
    And GPU first shows memory_reserved_bytes 3 GiB
    And GPU second shows memory_reserved_bytes 3 GiB

A configured need above the free memory is refused, however small the model
    [Tags]    B-MEM-014    B-MEM-001
    Given a GPU with 8 GiB
    And a tiny GGUF model tiny.gguf
    And a pool of kind llamacpp    model=models/tiny.gguf    vram_bytes=9 GiB    gpu=the GPU
    When the pool is preloaded
    Then the preload fails within 1 s with INSUFFICIENT_VRAM
    And the error names 9 GiB required and 8 GiB free

A replica that no longer fits fails while those that fit become Ready
    [Tags]    B-REPLICA-006
    Given a GPU named card with 8 GiB
    And a pool    gpu=card+card+card    replicas=3    min_ready=2    needs=3 GiB
    When the pool is preloaded
    Then the pool becomes ready within 5 s
    And two of its replicas are ready and one waits with INSUFFICIENT_VRAM for 3 GiB of GPU card, where 2 GiB are free
    And GPU card shows    memory_reserved_bytes 6 GiB    memory_used_bytes 6 GiB
    And the pool has 2 engine processes


*** Keywords ***
The devices are known
    [Documentation]    The daemon runs, and knows the pools and their GPUs.
    Get Devices

A third program holds ${size:\S+ \S+} of ${gpu}
    ${pid} =    Hold Gpu Memory    ${size}    ${gpu}
    VAR    ${THIRD} =    ${pid}    scope=TEST

The error names the third program with its pid and ${size:\S+ \S+}
    Error Should Name    "process ${THIRD} with"    ${size}
    Error Field    details.holder.pid    ==    ${THIRD}

Its last error says that ${size:\S+ \S+} are missing on GPU ${gpu:\w+}, and nothing on GPU ${other:\w+}
    ${error} =    Last Error Should Be    the pool    INSUFFICIENT_VRAM
    ${short} =    Get GPU Uuid    ${gpu}
    ${missing} =    Evaluate    [(one['device'], one['missing_bytes']) for one in $error['details']['devices']]
    Should Be Equal    ${missing}    ${{ [($short, 512 << 20)] }}
    Should Be Equal    ${size}    512 MiB

Its next attempt is in ${least:\d+} to ${most:\d+} s
    ${at} =    Get Pool Field    the pool    next_restart_at
    ${in} =    Evaluate    datetime.datetime.fromisoformat($at).timestamp() - time.time()
    Should Be True    ${least} <= ${in} <= ${most}

Two of its replicas are ready and one waits with INSUFFICIENT_VRAM for ${size:\S+ \S+} of GPU ${gpu:\w+}, where ${free:\S+ \S+} are free
    ${status} =    Get Pool
    ${waiting} =    Evaluate    [one for one in $status['replicas'] if not one['ready']]
    Length Should Be    ${waiting}    1
    Should Be Equal    ${waiting}[0][phase]    backoff
    Last Error Should Be    the pool    INSUFFICIENT_VRAM
    Error Should Name    GPU ${gpu}    ${size} required    ${free} free
    Should Be Equal    ${waiting}[0][last_error][code]    INSUFFICIENT_VRAM
