*** Settings ***
Documentation    What the line of each thing that happens tells: whose it is, and what one needs at 3 a.m.

Resource         PoolManagerResources/scenario.resource
Library          Collections

Test Tags        observability    OC-POOL-3030


*** Variables ***
&{QUICK}    restart.initial_ms=100 ms    restart.floor_ms=50 ms    restart.jitter=0


*** Test Cases ***
Every line that concerns a pool names it
    [Tags]    B-LOG-001
    Given a daemon of its own
    And a pool named chat    slots=1    &{QUICK}
    And a pool named code whose engine exits with code 3 while loading    &{QUICK}    breaker.failures=1
    And a model file other.gguf
    When pool chat has been preloaded
    And pool code is preloaded
    Then pool code reaches phase circuit_open within 10 s
    When a lease is held on pool chat
    And the daemon's reload of pool chat fails
    And all leases are released
    And the engine of pool chat is killed
    Then pool chat becomes unready within 3 s
    And pool chat becomes ready within 10 s
    When pool code is removed from the config
    And the config is reloaded
    And pool chat is stopped
    Then each log line that names a pool has its pool_id    chat    code

Lines about starts, readiness, failures and stops name the engine's kind
    [Tags]    B-LOG-002
    Given a pool of kind vllm    &{QUICK}
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    When the engine is killed
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    When the pool is stopped
    Then each log line of the pool has    engine=vllm
    And there is such a line for each of    preload started    preload ready    pool_ready ready    phase backoff
    ...    pool_unready unready    drain started    phase stopping    phase stopped    drain forced|drained

A pool that leaves the config is named with its engine to the end
    [Tags]    B-LOG-002
    Given a ready pool
    When the pool is removed from the config
    And the config is reloaded
    And no process of the pool is left within 10 s
    Then each log line of the pool has    engine=simulated
    And there is such a line for each of    drain started    phase stopping    phase stopped

The line of a replica that becomes ready has the version of its engine
    [Tags]    B-LOG-003
    Given a ready pool whose engine reports version 9.9
    Then the daemon logs    event=phase    to=ready    pool=the pool    engine_version=9.9
    And the pool shows engine_version 9.9
    When the engine reports version 10.1
    And the engine is killed
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    And the daemon logs    event=phase    to=ready    pool=the pool    engine_version=10.1
    And the pool shows engine_version 10.1

The line of a start has the devices that the mask stands for
    [Tags]    B-LOG-004    OC-POOL-3020
    Given a GPU named one with 8 GiB
    And a GPU named other with 8 GiB
    And a ready pool on GPUs other and one    tensor_split=[1, 1]    vram_bytes=4GiB
    Then the line of the start has the GPUs    other    one

Each restart's line has the number of restarts
    [Tags]    B-LOG-005    OC-POOL-3011
    Given a ready pool    &{QUICK}
    FOR    ${count}    IN    1    2    3
        When the engine is killed
        Then the pool becomes unready within 3 s
        And the pool becomes ready within 10 s
        And the daemon logs    event=phase    restart=true    restart_count=${count}    pool=the pool
        And the pool shows restart_count ${count}
    END
    And the restarts' lines count from 1 to 3

Each backoff's line has the delay that then passed
    [Tags]    B-LOG-006    OC-POOL-3011
    Given a pool    restart.initial_ms=100 ms    restart.floor_ms=50 ms    restart.jitter=0.1    breaker.failures=9
    And for its next 3 starts the engine exits with code 3 while loading
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    And each of 3 backoffs lasted as long as its lines said

So it is where an engine has to be stopped first
    [Tags]    B-LOG-006    OC-POOL-3011
    Given a pool whose engine never becomes ready and needs 400 ms to stop    readiness.timeout_ms=150 ms
    ...    restart.initial_ms=600 ms    restart.floor_ms=50 ms    restart.jitter=0
    When the pool is preloaded
    Then the pool reaches phase backoff within 10 s
    And the pool reaches phase preflight within 10 s
    And each of 1 backoffs lasted as long as its lines said

Each failure's line has the error with code and text
    [Tags]    B-LOG-007    OC-POOL-3003
    Given a GPU with 8 GiB
    And a pool    &{QUICK}
    And for its next 1 start the engine exits with code 3 while loading
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    When the engine behaves well again
    And the engine reports a CUDA error
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    When the GPU is lost
    Then the pool reaches phase failed within 10 s
    And each failure's line has its code and text    ENGINE_EXITED    CUDA_ERROR    GPU_UNAVAILABLE

A load that is refused before its start has them, too
    [Tags]    B-LOG-007    OC-POOL-3003
    Given a pool    vram_bytes=9GiB    restart.initial_ms=20 s
    When the pool is preloaded
    Then the preload fails within 3 s with INSUFFICIENT_VRAM
    And each failure's line has its code and text    INSUFFICIENT_VRAM


*** Keywords ***
The daemon's reload of pool chat fails
    Reload Pool    other.gguf    chat    drain_deadline=50 ms    wait=5 s
    Answer Should Be    DRAIN_TIMEOUT

Each log line that names a pool has its pool_id
    [Arguments]    @{pools}
    FOR    ${pool}    IN    @{pools}
        ${count} =    Log Lines That Name A Pool Should Have Its Id    ${pool}
        Should Be True    ${count} > 10
    END

Each log line of the pool has
    [Arguments]    &{fields}
    @{records} =    Get Daemon Log    pool=the pool
    Should Not Be Empty    ${records}
    FOR    ${record}    IN    @{records}
        FOR    ${field}    ${value}    IN    &{fields}
            Should Be Equal    ${record.get('${field}')}    ${value}    ${field} of ${record}
        END
    END

There is such a line for each of
    [Arguments]    @{happenings}
    FOR    ${happening}    IN    @{happenings}
        ${event}    ${to} =    Evaluate    $happening.split()
        Daemon Log Should Have    event=${event}    to=~^(${to})$    pool=the pool
    END

The line of the start has the GPUs
    [Arguments]    @{gpus}
    VAR    @{uuids} =    @{EMPTY}
    FOR    ${gpu}    IN    @{gpus}
        ${uuid} =    Get Gpu Uuid    ${gpu}
        Append To List    ${uuids}    ${uuid}
    END
    ${record} =    Daemon Log Should Have    event=phase    to=starting    pool=the pool
    Should Be Equal    ${record}[device_mask]    ${uuids}

The restarts' lines count from 1 to ${last:\d+}
    @{records} =    Get Daemon Log    event=phase    restart=true    pool=the pool
    Should Be Equal    ${{ [one['restart_count'] for one in $records] }}    ${{ list(range(1, ${last} + 1)) }}

Each of ${count:\d+} backoffs lasted as long as its lines said
    ${seen} =    Backoffs Should Have Lasted As Logged    the pool
    Should Be Equal As Integers    ${seen}    ${count}

Each failure's line has its code and text
    [Arguments]    @{codes}
    ${seen} =    Failures Should Be Logged With Their Error    the pool
    Should Be Equal    ${seen}    ${codes}
