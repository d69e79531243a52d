*** Settings ***
Documentation       The handoff file tells an orchestrator all that it needs to use an engine, and nothing but the truth.
Resource            PoolManagerResources/scenario.resource
Test Tags           preload


*** Test Cases ***
Every Ready replica has its file
    [Tags]    B-API-016    B-PRELOAD-041    OC-POOL-3001
    Given a pool    replicas=3    min_ready=3
    When a caller waits 10 s for the preload of the pool
    Then it answers 200
    And the handoff file of engine r0 exists
    And the handoff file of engine r1 exists
    And the handoff file of engine r2 exists
    And each file holds the pool and replica that its name states

It names the engine, its version and a url on which it really answers
    [Tags]    B-PRELOAD-040
    Given a ready pool whose engine reports version 7.1
    Then the handoff file's engine is simulated
    And the handoff file's engine_version is 7.1
    And the handoff file's engine_version equals the status' engine_version
    And the engine itself answers on the handoff file's url

It names the model that the engine was started with by its absolute path
    [Tags]    B-PRELOAD-042
    Given a model file moon.gguf
    And a ready pool    model=models/moon.gguf
    Then the model in the handoff file is the daemon's models/moon.gguf
    And the engine was started with the model in the handoff file

Its flags are the engine's own, without the secrets
    [Tags]    B-PRELOAD-043
    Given a ready pool
    ...    slots=3
    ...    args=["--alias", "a b", "--api-key", "geheim-1", "--hf-token=geheim-2", "--seed", "7"]
    ...    env={"API_TOKEN": "geheim-3"}
    Then its flags are the engine's arguments with *** for geheim-1 and geheim-2
    And nothing of geheim stands in the handoff file
    And the handoff file's slots is 3
    And the handoff file's device_mask equals the status' device_mask

Without secrets its flags are exactly the engine's arguments
    [Tags]    B-PRELOAD-043
    Given a ready pool    gpus=2    tensor_split=[3, 1]    args=["--flash-attn", "on", "ünïcode \\"x\\""]
    Then its flags are exactly the engine's arguments
    And the handoff file's device_mask equals the status' device_mask

It is indented UTF-8 JSON with a newline at its end
    [Tags]    B-PRELOAD-044
    Given a ready pool    args=["--alias", "größe ½"]
    Then the handoff file is indented UTF-8 JSON that ends with a newline

It names the very process that is Ready
    [Tags]    B-PRELOAD-049
    Given a ready pool
    Then pid, start_ticks and boot_id in the handoff file are those of the living engine
    And the spec_digest in the handoff file is the one that the engine was started with

A reader never sees a part of it
    [Tags]    B-PRELOAD-045
    Given a ready pool
    And a model file other.gguf
    And the handoff file is read all the time
    When the pool is preloaded anew 6 times
    And the pool is reloaded to and fro 2 times
    Then no reader saw a partial or empty document


*** Keywords ***
Each file holds the pool and replica that its name states
    FOR    ${replica}    IN    r0    r1    r2
        ${path} =    Get State Path    handoff    engine ${replica}
        ${handoff} =    Get Handoff    engine=engine ${replica}
        Should Be Equal    ${handoff}[pool_id]-${handoff}[replica_id].json    ${{ os.path.basename($path) }}
        Should Be Equal    ${handoff}[replica_id]    ${replica}
    END

The engine itself answers on the handoff file's url
    ${url} =    Get Handoff    url
    ${before} =    Get Engine Request Count    /v1/models
    Http Request    GET    ${url}/v1/models
    Answer Should Be    200
    Get Engine Request Count    /v1/models    ==    ${before + 1}

The model in the handoff file is the daemon's ${path}
    ${folder} =    Get Daemon    folder
    Get Handoff    model.path    ==    ${folder}/${path}

The engine was started with the model in the handoff file
    ${path} =    Get Handoff    model.path
    Command Line Should Have    the engine    --model    ${path}

Its flags are the engine's arguments with *** for ${first} and ${second}
    ${line} =    Get Engine Process    cmdline
    VAR    ${shown} =
    ...    ${{ list(map(lambda one, a=$first, b=$second: one.replace(a, '***').replace(b, '***'), $line)) }}
    Should Not Be Equal    ${shown}    ${line}
    Get Handoff    flags    ==    ${shown}[1:]

Nothing of ${secret} stands in the handoff file
    ${path} =    Get State Path    handoff
    Should Not Contain    ${{ pathlib.Path($path).read_text() }}    ${secret}

Its flags are exactly the engine's arguments
    ${line} =    Get Engine Process    cmdline
    Get Handoff    flags    ==    ${line}[1:]

The handoff file is indented UTF-8 JSON that ends with a newline
    ${path} =    Get State Path    handoff
    VAR    ${text} =    ${{ pathlib.Path($path).read_bytes().decode('utf-8', 'strict') }}
    VAR    ${document} =    ${{ json.loads($text) }}
    Should Be Equal    ${text}    ${{ json.dumps($document, indent=2, ensure_ascii=False) + '\n' }}
    Should Contain    ${text}    größe ½

Pid, start_ticks and boot_id in the handoff file are those of the living engine
    ${pid} =    Get Engine Pid
    ${ticks} =    Get Engine Process    start_ticks
    Get Handoff    pid    ==    ${pid}
    Get Handoff    start_ticks    ==    ${ticks}
    Get Handoff    boot_id    ==    ${{ pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip() }}

The spec_digest in the handoff file is the one that the engine was started with
    ${environment} =    Get Engine Process    environ
    Get Handoff    spec_digest    ==    ${environment}[POOL_MANAGERD_SPEC]

The handoff file is read all the time
    Start Reading Handoff

The pool is preloaded anew ${times} times
    FOR    ${_}    IN RANGE    ${times}
        Stop Pool
        Make Ready    the pool
    END

The pool is reloaded to and fro ${times} times
    FOR    ${_}    IN RANGE    ${times}
        Reload Pool    other.gguf    wait=10 s
        Answer Should Be    200
        Reload Pool    small.gguf    wait=10 s
        Answer Should Be    200
    END

No reader saw a partial or empty document
    No Partial Handoff Was Read    at_least=30
