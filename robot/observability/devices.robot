*** Settings ***
Documentation    The GPUs' memory, who holds it, and what goes wrong with them, as a scraper sees it.

Resource         PoolManagerResources/scenario.resource

Test Tags        observability    OC-POOL-3030


*** Test Cases ***
Each GPU has one total, the one that the API shows
    [Tags]    B-METRICS-003
    Given a GPU named big with 24 GiB
    And a GPU named small with 8 GiB
    And a running daemon
    Then the metric vram_total_bytes of GPU big is 24 GiB
    And the metric vram_total_bytes of GPU small is 8 GiB
    And each device has one vram_total_bytes, equal to its memory_total_bytes

The free memory follows what an engine takes and gives back
    [Tags]    B-METRICS-004
    Given a GPU with 8 GiB of which 7 GiB are free
    And a pool that needs 3 GiB on it
    Then the metric vram_free_bytes of the GPU is 7 GiB
    And each device has one vram_free_bytes, equal to its memory_free_bytes
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    And the metric vram_free_bytes of the GPU is 4 GiB
    And the metric device_vram_used_bytes of the GPU is 4 GiB
    And the metric vram_reserved_bytes of the GPU is 3 GiB
    And each device has one vram_free_bytes, equal to its memory_free_bytes
    When the pool is stopped
    Then the metric vram_free_bytes of the GPU is 7 GiB
    And the metric vram_reserved_bytes of the GPU is 0 GiB

What an engine holds is shown by device, and is gone after its stop
    [Tags]    B-METRICS-011
    Given a GPU named one with 8 GiB
    And a GPU named other with 8 GiB
    And a ready pool on GPUs one and other    tensor_split=[3, 1]    vram_bytes=4GiB
    Then the metric vram_used_bytes of the pool is 3 GiB on GPU one and 1 GiB on GPU other
    And the metric replica_info of the pool names both GPUs
    When the pool is stopped
    Then the metric vram_used_bytes of the pool does not exist
    And the metric ram_used_bytes of the pool does not exist

The host memory of an engine is that of its whole process tree
    [Tags]    B-METRICS-011
    Given a ready pool whose engine holds 60 MiB of host memory and starts a child in its own session
    Then the pool has 2 engine processes
    And the metric ram_used_bytes is what the pool's processes hold, more than 60 MiB
    When the pool is stopped
    Then the metric ram_used_bytes of the pool does not exist


*** Keywords ***
Each device has one ${metric}, equal to its ${field}
    ${devices} =    Get Devices
    FOR    ${device}    IN    @{devices}
        Get Metric    ${metric}    equals    ${device}[${field}]    within=1 s    device=${device}[uuid]
        Get Series Count    ${metric}    equals    1    device=${device}[uuid]
    END

The metric vram_used_bytes of the pool is ${size} on ${gpu} and ${size2} on ${gpu2}
    Get Metric    vram_used_bytes    equals    ${size}    within=1 s    pool=the pool    replica_id=r0    gpu=${gpu}
    Get Metric    vram_used_bytes    equals    ${size2}    within=1 s    pool=the pool    replica_id=r0    gpu=${gpu2}
    Get Series Count    vram_used_bytes    equals    2    pool=the pool

The metric replica_info of the pool names both GPUs
    Get Metric    replica_info    equals    1    pool=the pool    replica_id=r0    engine=simulated    gpu=one
    Get Metric    replica_info    equals    1    pool=the pool    replica_id=r0    engine=simulated    gpu=other

The metric ram_used_bytes is what the pool's processes hold, more than 60 MiB
    ${pids} =    Get Engine Pids    the pool
    VAR    ${held} =    ${0}
    FOR    ${pid}    IN    @{pids}
        ${resident} =    Get Process    ${pid}    rss
        VAR    ${held} =    ${{ $held + $resident }}
    END
    Should Be True    ${held} > 60 * 2**20
    ${shown} =    Get Metric    ram_used_bytes    pool=the pool    replica_id=r0
    Should Be True    abs(${shown} - ${held}) < 0.1 * ${held}    The processes hold ${held} bytes, the metric says ${shown}.
