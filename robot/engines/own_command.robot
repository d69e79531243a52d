*** Settings ***
Documentation       A pool of kind `command` runs the operator's own program, under the same rules as any other engine.
Resource            PoolManagerResources/scenario.resource
Test Tags           engines    B-ENGINE-005    OC-POOL-3012


*** Test Cases ***
The places in the command are filled in
    Given a GPU named big with 24 GiB
    And a GPU named small with 8 GiB
    And a pool of kind command    gpu=small+big    tensor_split=[1, 3]    host=127.0.0.3    slots=3    vram_bytes=1 MiB
    When a caller waits 10 s for the preload of the pool
    Then it answers 200
    And host, port, model and devices stand in the command line
    And the engine sees the GPUs    small    big
    And the pool shows    slots_total 3
    And the handoff file's slots is 3
    And a completion of 3 tokens is answered by tiny.gguf

Its slots are those of the config
    Given a ready pool of kind command    slots=2
    When 5 callers ask for a lease on the pool at once
    Then the callers get 2 granted and 3 NO_FREE_SLOT

An own command that is not in GPU memory is stopped
    Given a pool of kind command whose engine holds no GPU memory    vram_bytes=1 GiB
    When the pool is preloaded
    Then the preload fails within 5 s with CPU_SPILLOVER
    And no process of the pool is left within 2 s
    And the pool is in phase failed within 2 s
    And the pool is never in phase ready

An own command that leaves its mask is stopped
    Given a GPU named mine with 8 GiB
    And a GPU named other with 8 GiB
    And a pool of kind command whose engine uses GPU other outside its mask    gpu=mine
    When the pool is preloaded
    Then the preload fails within 5 s with CROSS_MASK_SPILLOVER
    And the error names GPU other
    And no process of the pool is left within 2 s
    And the pool is in phase failed within 2 s
    And the pool is never in phase ready

An own command is asked on the operator's own path alone
    Given a pool of kind command whose engine answers 500 to health checks    readiness.path=/v2/health/live
    When a caller waits 10 s for the preload of the pool
    Then it answers 200
    And Get Engine Request Count    /health    equals    0
    And Get Engine Request Count    /v2/health/live    greater than    0


*** Keywords ***
Host, port, model and devices stand in the command line
    [Documentation]    As the handoff file has them.
    ${url} =    Get Handoff    url
    ${model} =    Get Handoff    model.path
    ${mask} =    Get Pool Field    the pool    device_mask
    ${port} =    Evaluate    $url.rpartition(':')[2]
    Command Line Should Have    the engine    --host    127.0.0.3    --port    ${port}    --model    ${model}
    ...    --gpus    ${{ ','.join($mask) }}
