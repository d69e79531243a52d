*** Settings ***
Documentation       Engines on a real NVIDIA GPU, judged by the driver itself: their mask, their memory, their XIDs.
...
...                 Skipped where there is none.
Resource            PoolManagerResources/scenario.resource
Test Setup          A Daemon On The Real GPU
Test Tags           devices    gpu


*** Test Cases ***
An engine is told the GPU of its mask by its UUID, and CUDA shows it no other
    [Tags]    B-DEVICE-005    OC-POOL-3020
    Given a ready pool on the real GPU
    Then the engine's environment has CUDA_VISIBLE_DEVICES ${UUID}
    And CUDA shows the engine the real GPU alone

An engine's memory is seen as the driver tells it, beside another program's
    [Tags]    OC-POOL-3012
    Given another program holds 1 GiB of the real GPU
    And a ready pool on the real GPU    2 GiB
    Then the real GPU is held by    another program with 1 GiB    the engine with 2 GiB
    When the other program ends
    Then the real GPU is held by    the engine with 2 GiB
    And the pool goes through preflight, starting, loading, ready

An engine that holds less than it should is not resident
    [Tags]    B-ENGINE-005    OC-POOL-3012
    Given a pool on the real GPU    64 MiB    vram_bytes=8 GiB
    When the pool is preloaded
    Then the preload fails within 30 s with CPU_SPILLOVER
    And the error names the GPU
    And the pool is never in phase ready
    And the real GPU is held by nobody

More than the GPU has free is refused before anything starts, until it is free
    [Tags]    B-MEM-001    OC-POOL-3002
    Given another program holds 2 GiB of the real GPU
    And a pool on the real GPU    ${{ str($MEMORY - 2**31) }}
    When the pool is preloaded
    Then the preload fails within 5 s with INSUFFICIENT_VRAM
    And the error names the GPU
    And the error tells the bytes that are required and those that the driver has free
    And no engine process was started
    When the other program ends
    Then the pool becomes ready within 30 s

A killed engine's memory is free again before its successor starts
    [Documentation]    Both do not fit at once: a successor that came too early would fail, and be restarted once more.
    [Tags]    B-MEM-009    OC-POOL-3002    OC-POOL-3010
    Given a ready pool on the real GPU    ${{ str($MEMORY * 6 // 10) }}    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And the pid of the engine is noted
    When the engine is killed
    Then the pool becomes unready within 500 ms
    And the pool becomes ready within 30 s
    And the engine is another process
    And the pool goes through preflight, starting, loading, ready, backoff, preflight, starting, loading, ready
    And the real GPU is held by    the engine with ${{ str($MEMORY * 6 // 10) }}

A kernel that writes where it may not is a driver error of its engine
    [Tags]    B-XID-001    OC-POOL-3010    OC-POOL-3030
    Given a ready pool on the real GPU    restart.initial_ms=100 ms    restart.floor_ms=50 ms    restart.jitter=0
    And the pid of the engine is noted
    When a kernel of the engine faults
    Then the pool becomes unready within 1 s
    And the last error of the pool is DRIVER_ERROR
    And the pool becomes ready within 30 s
    And the engine is another process
    And the daemon tells of XID 31 of the class application once
    And the GPU shows health ok

An engine of a killed daemon is adopted with its memory
    [Tags]    B-PERSIST-003
    Given a ready pool on the real GPU    2 GiB
    And the pid of the engine is noted
    When the daemon is killed
    And the daemon is started
    Then the pool becomes ready within 2 s
    And the engine is still the same process
    And engine r0 shows    adopted true    restart_count 0    breaker.failures 0
    And no restart is counted
    And the real GPU is held by    the engine with 2 GiB

A stopped engine leaves nothing on the GPU
    [Tags]    OC-POOL-3002
    Given a ready pool on the real GPU    2 GiB
    When the pool is stopped
    Then the pool reaches phase stopped within 10 s
    And no process of the pool is left within 1 s
    And the real GPU is held by nobody


*** Keywords ***
A daemon on the real GPU
    Given A Daemon Of Its Own    devices.source=nvml    gpus=-1
    ${uuid} =    Use Real GPU
    VAR    ${UUID} =    ${uuid}    scope=TEST
    VAR    ${MEMORY} =    ${{ pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByUUID($uuid)).total }}    scope=TEST

A pool on the real GPU
    [Arguments]    ${holds}=1 GiB    &{settings}
    Define Real GPU Pool    pool    ${holds}    readiness.timeout_ms=30 s    &{settings}

A ready pool on the real GPU
    [Arguments]    ${holds}=1 GiB    &{settings}
    A Pool On The Real GPU    ${holds}    &{settings}
    Make Ready    the pool    30 s

CUDA shows the engine the real GPU alone
    ${gpus} =    Ask Engine    /gpus
    Should Be Equal    ${gpus}    ${{ [$UUID] }}

Another program holds ${size:\S+ \S+} of the real GPU
    Hold Real GPU Memory    ${size}

A kernel of the engine faults
    ${said} =    Let Kernel Fault
    Should Contain    ${said}    ILLEGAL_ADDRESS

The daemon tells of XID ${xid:\d+} of the class ${class:\w+} once
    ${events} =    Get Events    the daemon    kind=xid    device=${UUID}
    Length Should Be    ${events}    1
    Should Be Equal As Integers    ${events}[0][details][xid]    ${xid}
    Should Be Equal    ${events}[0][details][xid_class]    ${class}

No restart is counted
    Get Metric    restart_total    equals    ${0}    pool=the pool

The engine's environment has ${name:\w+} ${value}
    ${environment} =    Get Engine Process    environ
    Should Be Equal    ${environment}[${name}]    ${value}

The error tells the bytes that are required and those that the driver has free
    ${free} =    Evaluate    pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByUUID($UUID)).free
    Error Field    details.required_bytes    ==    ${{ $MEMORY - 2**31 }}
    Error Field    details.free_bytes    <=    ${free}
    Error Field    details.free_bytes    >    ${{ $free - 2**30 }}

The real GPU is held by
    [Arguments]    @{holders}
    Real GPU Should Be Held    @{holders}

The real GPU is held by nobody
    Real GPU Should Be Held
