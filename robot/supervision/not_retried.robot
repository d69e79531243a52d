*** Settings ***
Documentation       What a restart cannot mend is not restarted, and says what would mend it; what is short is waited for.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision    OC-POOL-3011


*** Variables ***
&{AT_ONCE}      restart.initial_ms=50 ms    restart.floor_ms=50 ms    restart.max_ms=100 ms


*** Test Cases ***
A missing model waits for the operator
    [Tags]    B-SUPER-041    B-SUPER-052    OC-POOL-3003
    Given a pool    model=models/later.txt    &{AT_ONCE}
    When the pool is preloaded
    Then the preload fails within 1 s with MODEL_NOT_FOUND
    And it waits in phase failed, not counted and not tried again
    When a model file later.txt is there
    And the pool is preloaded
    Then the pool becomes ready within 5 s
    And the pool shows    restart_count 0    last_error null

A missing model that has come is found by a config reload, though the config is the same
    [Tags]    B-SUPER-041
    Given a pool    model=models/later-still.txt    &{AT_ONCE}
    When the pool is preloaded
    Then the preload fails within 1 s with MODEL_NOT_FOUND
    And the pool is in phase failed
    When a model file later-still.txt is there
    And the config is reloaded
    Then the reload reports the pool as unchanged
    And the pool becomes ready within 5 s
    And the pool shows    restart_count 0    last_error null

A missing binary waits for the operator
    [Tags]    B-SUPER-041    B-SUPER-052    OC-POOL-3003
    Given a tiny GGUF model tiny.gguf
    And a pool    engine=llamacpp    binary=/no/such/llama-server    model=models/tiny.gguf    &{AT_ONCE}
    When the pool is preloaded
    Then the preload fails within 1 s with ENGINE_NOT_FOUND
    And it waits in phase failed, not counted and not tried again

Bad arguments wait for the operator, and a config reload that puts them right is tried by itself
    [Tags]    B-SUPER-041    B-SUPER-052    OC-POOL-3003
    Given a pool whose engine refuses unknown arguments    args=["--no-such-flag"]    &{AT_ONCE}
    When the pool is preloaded
    Then the preload fails within 5 s with ENGINE_EXITED
    And the pool shows last_error.details.cause bad_arguments
    And it waits in phase failed, not counted and not tried again
    When the pool is changed in the config    args=[]
    And the config is reloaded
    Then it is accepted
    And the pool becomes ready within 5 s

A lost device is waited for
    [Tags]    B-SUPER-052    OC-POOL-3003
    Given a ready pool    &{AT_ONCE}
    When the GPU is lost
    Then the pool becomes unready within 2 s
    And the pool is in phase failed within 5 s
    And it waits in phase failed, not counted and not tried again
    And the hint says that it starts again once the device is back
    When the GPU is well again
    Then the pool becomes ready within 10 s

Short memory is looked for often, told of seldom, and never opens the circuit
    [Tags]    B-SUPER-042    OC-POOL-3002
    Given a GPU with 8 GiB
    And a pool that needs 7 GiB on it    breaker.failures=2    restart.initial_ms=500 ms    restart.floor_ms=500 ms
    ...    restart.factor=1.5    restart.jitter=0
    And another program holds 6 GiB of the GPU
    When the pool is preloaded
    And 4 attempts have been told of
    Then they are told of 500, 750 and 1125 ms after each other
    And the pool shows    phase backoff    breaker.state closed    breaker.failures 0    restart_count 0
    When the other program ends
    Then the pool becomes ready within 1 s
    And no event of kind breaker comes within 0 ms


*** Keywords ***
It waits in phase failed, not counted and not tried again
    Pool Should Stay    the pool    in phase failed    300 ms
    Pool Should Show    the pool    live false    restart_count 0    breaker.failures 0    breaker.state closed
    ...    next_restart_at null    replicas.0.pid null    replicas.0.next_restart_at null
    No Event Should Come    the pool    kind=restart_scheduled
    ${error} =    Get Pool Field    the pool    last_error
    Should Not Be Empty    ${error}[hint]
    Engine Process Count    the pool    ==    0    within=1 s

The hint says that it starts again once the device is back
    ${error} =    Get Pool Field    the pool    last_error
    Should Contain    ${error}[hint]    back

A model file ${name} is there
    Create Model File    ${name}

${count:\d+} attempts have been told of
    Wait Until Keyword Succeeds    10 s    20 ms    Attempts Should Number At Least    ${count}

Attempts should number at least
    [Arguments]    ${count}
    Get Event Count    the pool    greater than    ${${count} - 1}    kind=preload    to=failed

They are told of ${first:\d+}, ${second:\d+} and ${third:\d+} ms after each other
    ${events} =    Get Events    the pool    kind=preload    to=failed
    ${times} =    Evaluate    [datetime.datetime.fromisoformat(one['at']).timestamp() * 1000 for one in $events[:4]]
    ...    modules=datetime
    ${gaps} =    Evaluate    [later - earlier for earlier, later in itertools.pairwise($times)]    modules=itertools
    FOR    ${gap}    ${delay}    IN ZIP    ${gaps}    ${{ [${first}, ${second}, ${third}] }}
        Should Be True    ${delay} - 20 <= ${gap} <= ${delay} + 250    The attempts came ${gaps} ms after each other.
    END
