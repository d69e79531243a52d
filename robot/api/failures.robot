*** Settings ***
Documentation    A failure that a caller waits for has one code, and the status of that code on each protocol.

Resource         PoolManagerResources/scenario.resource

Test Tags        api    B-API-043    OC-POOL-3002    OC-POOL-3003


*** Variables ***
&{QUICK}    restart.initial_ms=100 ms    restart.floor_ms=50 ms    breaker.failures=50    restart.storm_open=60


*** Test Cases ***
Too little GPU memory
    Given a GPU with 8 GiB of which 6 GiB are free
    And a pool that needs 7 GiB on it
    Then a waiting preload is refused with 503 and UNAVAILABLE as INSUFFICIENT_VRAM

Too little host memory
    Given a pool    ram_bytes=900TiB
    Then a waiting preload is refused with 503 and UNAVAILABLE as INSUFFICIENT_RAM

A lost GPU
    Given a GPU with 8 GiB
    And a pool on the GPU
    When the GPU is lost
    Then the GPU shows health lost
    And a waiting preload is refused with 503 and UNAVAILABLE as GPU_UNAVAILABLE

An engine that is never ready
    Given a pool whose engine never becomes ready    readiness.timeout_ms=250 ms    readiness.probe_timeout_ms=100 ms
    ...    readiness.max_interval_ms=50 ms    &{QUICK}
    Then a waiting preload is refused with 504 and DEADLINE_EXCEEDED as READINESS_TIMEOUT

A program that cannot be run
    ${binary} =    Create Program    broken    text=no program at all
    Given a pool    engine=command    command=["${binary}", "--port", "{port}"]    &{QUICK}
    Then a waiting preload is refused with 502 and ABORTED as SPAWN_FAILED

An engine that ends
    Given a pool whose engine exits with code 3 while loading    &{QUICK}
    Then a waiting preload is refused with 502 and ABORTED as ENGINE_EXITED

An engine that would use the CPU
    Given a pool whose engine offloads to the CPU    &{QUICK}
    Then a waiting preload is refused with 502 and ABORTED as CPU_SPILLOVER

A model that is not there
    Given a pool    model=models/nowhere.gguf
    Then a waiting preload is refused with 404 and NOT_FOUND as MODEL_NOT_FOUND

A program that is not there
    Given a pool    engine=llamacpp    binary=/nowhere/llama-server
    Then a waiting preload is refused with 404 and NOT_FOUND as ENGINE_NOT_FOUND

A reload whose drain takes too long
    Given a ready pool
    And a model file other.gguf
    And a lease is held on the pool
    Then a reload over HTTP is refused with 504 as DRAIN_TIMEOUT
    And a reload over gRPC is refused with DEADLINE_EXCEEDED as DRAIN_TIMEOUT
    And the pool shows    ready true    draining false    active_leases 1

A reload to a model that cannot be loaded
    Given a ready pool
    And a model file other.gguf
    When with model other.gguf the engine exits with code 3 while loading
    Then a reload over HTTP is refused with 502 as RELOAD_FAILED
    When with model other.gguf the engine exits with code 3 while loading
    Then a reload over gRPC is refused with ABORTED as RELOAD_FAILED
    And the pool is ready


*** Keywords ***
A waiting preload is refused with ${http:\d+} and ${grpc:[A-Z_]+} as ${code}
    [Documentation]    Each answer's retriable and, over gRPC, ErrorInfo are checked too.
    Preload Pool    the pool    wait=5 s
    Answer Should Be    ${http} ${code}
    Preload Pool    the pool    wait=5 s    protocol=gRPC
    Answer Should Be    ${grpc} ${code}

A reload over ${protocol:HTTP|gRPC} is refused with ${status:\w+} as ${code:\w+}
    Reload Pool    other.gguf    the pool    wait=5 s    drain_deadline=100 ms    protocol=${protocol}
    Answer Should Be    ${status} ${code}
    Error Field    details.restored    ==    ${True}
