*** Settings ***
Documentation       A pool that was refused for short memory becomes Ready by itself as soon as there is room, however long its backoff.
Library             DateTime
Resource            PoolManagerResources/scenario.resource
Test Tags           memory    OC-POOL-3002    B-MEM-008


*** Variables ***
&{SLOWLY}       restart.initial_ms=60 s    restart.floor_ms=60 s    restart.max_ms=120 s


*** Test Cases ***
Once another pool gives its memory back
    Given a GPU with 8 GiB
    And a pool named first that needs 5 GiB on the GPU    share_devices=true
    And a pool named next that needs 4 GiB on the GPU    share_devices=true    &{SLOWLY}
    And pool first has been preloaded
    And pool next waits for memory that pool first holds
    When pool first is stopped
    Then pool next becomes ready within 1500 ms
    And it was tried again within 1 s of the memory being free, and no sooner

Once another pool's engine has died
    Given a GPU with 8 GiB
    And a pool named first that needs 5 GiB on the GPU    share_devices=true    &{SLOWLY}
    And a pool named next that needs 4 GiB on the GPU    share_devices=true    &{SLOWLY}
    And pool first has been preloaded
    And pool next waits for memory that pool first holds
    When the engine of pool first is killed
    Then pool next becomes ready within 1500 ms

Once the named holder has ended
    Given a GPU with 8 GiB
    And another program holds 5 GiB of the GPU
    And a pool that needs 4 GiB on the GPU    &{SLOWLY}
    And the pool waits for memory
    When the other program ends
    Then the pool becomes ready within 1 s
    And the pool goes through preflight, backoff, preflight, starting, loading, ready
    And the pool shows    restart_count 0    last_error null    next_restart_at null

Once memory is free that nobody in the process list held
    Given a GPU with 8 GiB of which 3 GiB are free
    And a pool that needs 4 GiB on the GPU    &{SLOWLY}
    And the pool waits for memory
    When memory of nobody's is given back on the GPU
    Then the pool becomes ready within 1 s
    And the pool shows    restart_count 0    last_error null

Waiting for memory counts towards no breaker and makes no noise
    [Tags]    B-MEM-013
    Given a GPU with 8 GiB of which 3 GiB are free
    And a pool that needs 4 GiB on the GPU    breaker.failures=1    &{SLOWLY}
    And the pool waits for memory
    Then the pool stays in phase backoff for 1200 ms
    And the pool goes through preflight, backoff
    And the pool shows    phase backoff    breaker.state closed    breaker.failures 0    restart_count 0


*** Keywords ***
Pool ${name:\w+} waits for memory that pool ${other:\w+} holds
    Preload Pool    ${name}
    Pool Should Become    ${name}    in phase backoff    within=3 s
    Last Error Should Be    ${name}    INSUFFICIENT_VRAM
    Error Should Name    pool ${other}
    Engine Should Not Have Been Started    ${name}

The pool waits for memory
    Preload Pool    the pool
    Pool Should Become    the pool    in phase backoff    within=3 s
    Last Error Should Be    the pool    INSUFFICIENT_VRAM
    Engine Should Not Have Been Started    the pool

It was tried again within ${time} of the memory being free, and no sooner
    [Documentation]    By the events: the first pool's engine was gone before.
    ${gone} =    Get Events    pool first    kind=phase    to=stopped
    ${tried} =    Get Events    pool next    kind=phase    to=preflight
    Should Be True    $tried[-1]['revision'] > $gone[-1]['revision']
    ${from} =    Evaluate    datetime.datetime.fromisoformat($gone[-1]['at'])
    ${to} =    Evaluate    datetime.datetime.fromisoformat($tried[-1]['at'])
    ${limit} =    Convert Time    ${time}
    Should Be True    ($to - $from).total_seconds() <= ${limit}

Memory of nobody's is given back on ${gpu}
    Change GPU    ${gpu}    memory_used=0 B
