*** Settings ***
Documentation       The real Triton server with a real model repository: what the daemon promises holds for it as for the stand-in.
...
...                 It computes on the CPU here, and a wrapper program holds memory on a simulated GPU. Skipped where the environment
...                 variable POOL_MANAGERD_TRITON_ENV names no virtual environment with the package nvidia-pytriton.
Resource            PoolManagerResources/scenario.resource
Test Tags           engines    real-engine


*** Test Cases ***
It is ready when it has loaded its models, and not before
    [Tags]    B-ENGINE-004    B-ENGINE-006    OC-POOL-3001    OC-POOL-3012
    Given a pool that runs the real Triton
    When the pool is preloaded
    Then its readiness page answers before the pool is ready
    And the pool goes through preflight, starting, loading, ready
    And the pool's engine_version is Triton's own
    And the command line of the engine has    --exit-on-error=true
    And it holds 64 MiB on its GPU

It is drained while a stream runs, and the stream ends whole
    [Tags]    B-DRAIN-003    B-DRAIN-004    B-DRAIN-006    OC-POOL-3010
    Given a ready pool that runs the real Triton
    And a stream of 12 words runs under a lease
    When the pool is drained    deadline=60 s
    Then the completion ends whole within 30 s
    And the completion went on after the drain had begun
    When the lease is released
    Then the drain ends within 20 s as drained
    And no process of the pool is left within 1 s
    And no files of the pool are left

It is reloaded to another repository
    [Tags]    B-RELOAD-004    B-RELOAD-006    B-RELOAD-008    OC-POOL-3001
    Given a ready pool that runs the real Triton
    And another repository letters
    And the pid of the engine is noted
    When a caller waits 90 s for the reload of the pool to letters
    Then it answers 200
    And the engine is another process
    And a stream of 2 words is answered by letters

It keeps its old repository where the new one cannot be loaded
    [Tags]    B-RELOAD-002    B-RELOAD-011    OC-POOL-3002
    Given a ready pool that runs the real Triton
    And a repository broken that Triton refuses
    When a caller waits 90 s for the reload of the pool to broken
    Then it is refused with 502 RELOAD_FAILED
    And the error's details.cause is ENGINE_EXITED
    And the error's details.restored is true
    And a stream of 2 words is answered by words

It is killed, restarted and answers again
    [Tags]    B-PROC-017    OC-POOL-3010
    Given a ready pool that runs the real Triton    restart.initial_ms=100 ms    restart.floor_ms=50 ms
    And the pid of the engine is noted
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the pool becomes ready within 60 s
    And the engine is another process
    And the noted process of the engine is gone within 1 s
    And the pool has 2 engine processes
    And a stream of 2 words is answered by words

An argument that it does not know is not tried again
    [Tags]    B-SUPER-041    OC-POOL-3011
    Given a pool that runs the real Triton    args=["--no-such-flag"]
    When the pool is preloaded
    Then the preload fails within 30 s with ENGINE_EXITED
    And the pool shows    phase failed    restart_count 0    next_restart_at null    last_error.details.cause bad_arguments


*** Keywords ***
A pool that runs the real Triton
    [Documentation]    One model that answers a text with its words.
    [Arguments]    &{settings}
    # It unloads its models for about two seconds before it ends, and looks at what is in flight once a second.
    Define Real Triton Pool    stop.grace_ms=15 s    &{settings}

A ready pool that runs the real Triton
    [Documentation]    The same, preloaded.
    [Arguments]    &{settings}
    A Pool That Runs The Real Triton    &{settings}
    Make Ready    the pool    60 s

Another repository ${name:\w+}
    [Documentation]    Of the same kind, with a model of that name.
    Create Real Triton Repository    ${name}

A repository ${name:\w+} that Triton refuses
    [Documentation]    Its backend is not there.
    Create Real Triton Repository    ${name}    backend: "nowhere"\n

A stream of ${count:\d+} words runs under a lease
    [Documentation]    By Triton's generate extension; its first word has come.
    Start Completion    ${count}    triton_model=words

A stream of ${count:\d+} words is answered by ${model:\w+}
    [Documentation]    Under a lease of its own, which is released.
    ${lease} =    Take Leases    1
    Start Completion    ${count}    triton_model=${model}
    Completion Should End Whole    within=10 s
    Get Completion    model    ==    ${model}
    Release Lease    ${lease}[0]

Its readiness page answers before the pool is ready
    [Documentation]    It is asked side by side with the daemon.
    ${load} =    Watch Engine Load    path=/v2/health/ready
    Pool Should Become    the pool    ready    within=60 s
    ${ready} =    Get Event    at
    Should Be True    __import__('datetime').datetime.fromisoformat($ready).timestamp() > ${load}[last_bad]

The pool's engine_version is Triton's own
    [Documentation]    As /v2 tells it.
    ${page} =    Ask Engine    /v2
    Should Match Regexp    ${page}[version]    ^2\\.\\d+\\.\\d+$
    Get Pool Field    the pool    engine_version    ==    ${page}[version]

It holds ${size:\S+ \S+} on its GPU
    [Documentation]    As its status shows.
    ${vram} =    Get Pool Field    the pool    vram
    ${bytes} =    Evaluate    PoolManagerLibrary.units.parse_size($size)    modules=PoolManagerLibrary.units
    Should Be True    ${vram}[used_bytes] == ${bytes}    ${vram}
