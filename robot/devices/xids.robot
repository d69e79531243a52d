*** Settings ***
Documentation       An application's XID restarts the engine that shows it or is alone there; others change nothing.
Resource            PoolManagerResources/scenario.resource
Resource            xid.resource
Test Tags           devices    OC-POOL-3010


*** Test Cases ***
An application's XID restarts the engine that is alone on the device
    [Tags]    B-XID-001    B-XID-007    OC-POOL-3030
    [Template]    XID ${xid} restarts the engine that is alone on its device and leaves the others alone
    13
    31

Two XIDs of one fault are one failure of the engine
    [Documentation]    A kernel's misaligned access makes a real driver report 13 and, less than a millisecond later, 31.
    [Tags]    B-XID-001    B-SUPER-008
    Given a GPU with 8 GiB
    And a ready pool    gpu=gpu0    &{QUICK}
    When XIDs 13 and 31 are reported for the GPU at once
    Then the pool becomes ready within 3 s
    And the pool goes through preflight, starting, loading, ready, draining, stopping, backoff, preflight, starting, loading, ready
    And 2 XIDs of the GPU are told
    And the pool shows    restart_count 1
    And engine r0 shows    breaker.driver_failures 1    breaker.failures 0

Of several engines on the device an application's XID restarts the one that shows it
    [Tags]    B-XID-001    B-XID-011
    [Template]    When XID 31 comes, the engine that ${shows it} is restarted and its neighbour is not
    has just died
    dies a moment later
    hangs
    fails its health checks

Of several engines on the device an application's XID restarts none without a sign
    [Tags]    B-XID-011    B-XID-001
    Given a GPU with 8 GiB
    And two ready pools on it
    And the pid of the engine of pool one is noted
    And the pid of the engine of pool two is noted
    When XID 31 is reported for the GPU
    Then the event of the XID names its class application and both pools, and no reset
    And every pool stays ready for 500 ms
    And the engine of pool one is still the same process
    And the engine of pool two is still the same process
    And the GPU shows health ok

XIDs of no consequence are counted, logged and emitted
    [Tags]    B-XID-004    B-XID-008    B-XID-007
    [Template]    XID ${xid} of the class ${class} changes nothing, and is logged as ${level}
    43      ignore     info
    63      ignore     info
    45      ignore     info
    9999    unknown    warning

After a driver error leases may end, and the engine is restarted with the doubled backoff
    [Tags]    B-XID-006
    Given a GPU with 8 GiB
    And a ready pool    gpu=gpu0    &{QUICK}
    And a lease is held on the pool
    When XID 13 is reported for the GPU
    Then the pool becomes unready within 500 ms
    And the pool shows    phase draining    draining true    desired running    last_error.code DRIVER_ERROR
    When a caller asks for a lease on the pool
    Then it is refused with POOL_UNREADY
    And the pool stays in phase draining for 300 ms
    When the lease is released
    Then an event of kind restart_scheduled comes within 2 s    details.backoff_ms=200
    And the pool becomes ready within 3 s
    And it was in phase backoff for at least 190 ms

After a driver error leases that do not end are cut off at the drain's deadline
    [Tags]    B-XID-006
    Given a GPU with 8 GiB
    And a ready pool    gpu=gpu0    &{QUICK}    drain.deadline_ms=400 ms
    And a lease is held on the pool
    When XID 13 is reported for the GPU
    Then the pool reaches phase draining within 500 ms
    And the pool reaches phase stopping within 1 s
    And the pool becomes ready within 3 s
    And it was in phase draining for at least 390 ms


*** Keywords ***
Two ready pools on it
    Define Pool    one    gpu=the GPU    needs=1 GiB    liveness.failures=${1000}    &{QUICK}
    Define Pool    two    gpu=the GPU    needs=1 GiB    liveness.failures=${1000}    &{QUICK}
    Make Ready    every pool

XIDs ${first:\d+} and ${second:\d+} are reported for the GPU at once
    Emit XID    ${first}    the GPU
    Emit XID    ${second}    the GPU

${count:\d+} XIDs of the GPU are told
    ${uuid} =    Get GPU Uuid    the GPU
    ${events} =    Get Events    the daemon    kind=xid    device=${uuid}
    Length Should Be    ${events}    ${count}

The event of the XID names its class ${class:\w+} and both pools, and no reset
    ${one} =    Get Pool Id    one
    ${two} =    Get Pool Id    two
    Wait For Event    the daemon    kind=xid    details.xid_class=${class}
    Get Event    details.pools    ==    ${{ sorted([$one, $two]) }}
    Get Event    details.needs_reset    ==    ${False}

XID ${xid} restarts the engine that is alone on its device and leaves the others alone
    ${gpu}    ${other} =    A Pair Of GPUs
    Emit XID    ${xid}    ${gpu}
    Pool Should Become    ${gpu}    unready    within=500 ms
    Last Error Should Be    ${gpu}    DRIVER_ERROR
    Error Should Name    "XID ${xid}"    GPU ${gpu}
    Pool Should Become    ${gpu}    ready    within=3 s
    Engine Should Be Another    engine of pool ${gpu}
    The Device Is Well And The Other Pool Undisturbed    ${gpu}    ${other}
    The Daemon Tells Of XID ${xid} Once    application    ${gpu}    ${gpu}    ${False}    warning

When XID ${xid} comes, the engine that ${shows it} is restarted and its neighbour is not
    ${name} =    Two Pools On One GPU
    Run Keyword    The Engine Of It ${shows it} When XID ${xid} Comes    ${name}
    Wait For Event    ${name}    within=2 s    kind=phase    code=DRIVER_ERROR
    Engine Behaves Well    engine of pool ${name}
    Wait Until Pool Is Ready    ${name}    5 s
    Engine Should Be Another    engine of pool ${name}
    The Device Is Well And The Other Pool Undisturbed    ${name}    ${name}-beside

Two pools on one GPU
    [Documentation]    The first is named like the GPU. Returns its name.
    ${name} =    Evaluate    'g' + uuid.uuid4().hex[:8]
    Define GPU    ${name}    8 GiB
    FOR    ${pool}    IN    ${name}    ${name}-beside
        Define Pool    ${pool}    gpu=${name}    needs=1 GiB    liveness.failures=${1000}    liveness.probe_timeout_ms=300 ms
        ...    liveness.interval_ms=100 ms    &{QUICK}
        Make Ready    pool ${pool}
        Remember Engine    engine of pool ${pool}
    END
    RETURN    ${name}

The engine of it has just died when XID ${xid} comes
    [Arguments]    ${pool}
    Kill Engine    engine of pool ${pool}    SIGABRT
    Emit XID    ${xid}    ${pool}

The engine of it dies a moment later when XID ${xid} comes
    [Arguments]    ${pool}
    Emit XID    ${xid}    ${pool}
    Wait For Event    the daemon    kind=xid
    Kill Engine    engine of pool ${pool}    SIGABRT

The engine of it hangs when XID ${xid} comes
    [Arguments]    ${pool}
    Engine Does    hangs    engine of pool ${pool}
    Emit XID    ${xid}    ${pool}

The engine of it fails its health checks when XID ${xid} comes
    [Arguments]    ${pool}
    Engine Does    answers 500 to health checks    engine of pool ${pool}
    Get Metric    probe_failures_total    >    ${0}    pool=${pool}    within=2 s
    Emit XID    ${xid}    ${pool}

XID ${xid} of the class ${class:\w+} changes nothing, and is logged as ${level}
    ${gpu}    ${other} =    A Pair Of GPUs
    Emit XID    ${xid}    ${gpu}
    Wait For Event    the daemon    kind=xid    details.xid=${xid}
    Pool Should Stay    pools ${gpu} and ${other}    ready    200 ms
    The Daemon Tells Of XID ${xid} Once    ${class}    ${gpu}    ${gpu}    ${False}    ${level}
    The Device Is Well And The Other Pool Undisturbed    ${gpu}    ${other}
    Phases Should Be    ${gpu}    preflight    starting    loading    ready
