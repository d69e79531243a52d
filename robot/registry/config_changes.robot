*** Settings ***
Documentation       What a reload names as changed, and what it leaves as it was.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
Another program
    [Tags]    B-REG-041
    ${program} =    Given Create Program    my-engine
    And a pool
    Then only binary is reported as changed    binary=${program}

Other arguments
    [Tags]    B-REG-041
    Given a pool
    Then only args is reported as changed    args=["--flash-attn"]

Another model
    [Tags]    B-REG-041
    Given a model file other.gguf
    And a pool
    Then only model is reported as changed    model=models/other.gguf

Another mask
    [Tags]    B-REG-041
    Given a GPU named first with 8 GiB
    And a GPU named second with 8 GiB
    And a pool    gpu=first
    ${uuid} =    Get Gpu Uuid    second
    Then only devices is reported as changed    devices=${uuid}

The same in other words
    [Tags]    B-REG-041    B-REG-082
    Given a GPU named first with 8 GiB
    And a GPU named second with 8 GiB
    And a pool named two    gpu=first+second    tensor_split=[1, 2]    vram_bytes=1073741824
    ...    env={"A": "1"}    args=["--x", "y z"]
    And a ready pool named one    slots=2    liveness.interval_ms=900
    And the status of every pool is noted
    When the config file is written in other words
    And the config is reloaded
    Then the reload reports every pool as unchanged
    And the status of every pool is as noted

One changed key leaves every other value as it was
    [Tags]    B-REG-043
    Given a pool with many values
    And the status of the pool is noted
    And the command line of the engine is noted
    When the pool is changed in the config    drain.deadline_ms=2 s
    And the config is reloaded
    Then the reload reports the pool as changed in drain.deadline_ms
    And the status of the pool is as noted
    And the command line of the engine differs in nothing
    And a lease still lives for 7 s

One changed key of the engine leaves its other arguments as they were
    [Tags]    B-REG-043
    Given a pool with many values
    And the status of the pool is noted
    And the command line of the engine is noted
    When the pool is changed in the config    slots=5
    And the config is reloaded
    Then the reload reports the pool as changed in slots
    And the pool shows    slots_total 5    ready true    within=5 s
    And the command line of the engine differs only in --slots
    And the status of the pool is as noted but for slots_total, slots_free, replicas.pid, replicas.url and replicas.since
    And a lease still lives for 7 s
    When a dry run of the config reload is made
    Then the reload reports every pool as unchanged

What belongs to other pools is kept
    [Tags]    B-REG-111
    Given a ready pool named crashed    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And the engine of pool crashed has been replaced once
    And a lease is held on pool crashed    ttl=20 s
    And a pool named broken whose engine exits with code 3 while loading
    ...    breaker.failures=1
    ...    restart.initial_ms=1 s
    And the circuit of pool broken has opened
    And a ready pool named other    slots=2
    And the status of every pool is noted
    When pool other is changed in the config    slots=3
    And the config is reloaded
    Then the reload reports pool other as changed in slots
    And the reload reports pool crashed as unchanged
    And the reload reports pool broken as unchanged
    And pool other shows    slots_total 3    ready true    within=5 s
    And the status of pool crashed is as noted
    And the status of pool broken is as noted
    And pool crashed shows    restart_count 1    active_leases 1
    And pool broken shows    breaker.state open    last_error.code ENGINE_EXITED

The same id twice is refused with both places
    [Tags]    B-REG-082
    Given a ready pool
    And the status of the pool is noted
    ${id} =    Get Pool Id
    ${first}    ${second} =    When Repeat Pool In Config
    And the config is reloaded
    Then it is refused with 400 INVALID_REQUEST
    And the answer names lines ${first} and ${second}
    And the answer names ${id}
    And the status of the pool is as noted
    When the operator runs pool-managerd check-config {config}
    Then it exits with 2
    And the answer names lines ${first} and ${second}
    And the answer names ${id}


*** Keywords ***
A pool with many values
    [Documentation]    Ready.
    Given a ready pool    slots=2    context=2048    args=["--flash-attn"]    lease.ttl_ms=7 s    engine_version="7.7"
    ...    vram_bytes=1 GiB    simulated.tokens_per_s=77    liveness.interval_ms=900

Only ${key} is reported as changed
    [Documentation]    By a reload after these settings of the pool were changed.
    [Arguments]    &{settings}
    Given the pool shows phase stopped
    When the pool is changed in the config    &{settings}
    And the config is reloaded
    Then the reload reports the pool as changed in ${key}

The command line of the engine differs in nothing
    [Documentation]    From the one noted.
    Command Line Should Differ Only In    the engine

A lease still lives for ${time}
    [Documentation]    By the event of its grant.
    A caller asks for a lease on the pool
    ${granted} =    Get Events    the pool    kind=lease    details.action=granted
    ${milliseconds} =    Evaluate    int(__import__('robot').utils.timestr_to_secs($time) * 1000)
    Should Be Equal    ${granted}[-1][details][ttl_ms]    ${milliseconds}

The engine of pool ${name} has been replaced once
    [Documentation]    Killed and restarted.
    Kill Engine    ${name}/r0
    Pool Should Become    ${name}    unready    within=1 s
    Pool Should Become    ${name}    ready    within=5 s

The circuit of pool ${name} has opened
    [Documentation]    By its first failure.
    Preload Pool    ${name}
    Pool Should Become    ${name}    in phase circuit_open    within=3 s
