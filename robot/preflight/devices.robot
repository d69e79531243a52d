*** Settings ***
Documentation    A start begins on GPUs that are there and well: a pool whose device is not waits for it and starts no process.

Resource         PoolManagerResources/scenario.resource

Test Tags        preflight    OC-POOL-3012


*** Test Cases ***
The preflight of a pool with a usable GPU passes and the start follows
    [Tags]    B-PREFLIGHT-010
    Given a GPU with 8 GiB
    And a pool that needs 2 GiB on it
    When the pool is preloaded
    Then the pool becomes ready within 5 s
    And the pool goes through preflight, starting, loading, ready
    And the event for phase preflight is followed by the one for phase starting

A pool on a device that is not usable waits for it in phase failed
    [Tags]    B-PREFLIGHT-011
    [Template]    A pool whose GPU is ${state} and shown as ${shown} stays failed until it is well, and becomes ready by itself
    lost    lost
    unreadable    lost
    reset_required    quarantined

A pool on a device that an XID has put into quarantine waits for its re-test
    [Tags]    B-PREFLIGHT-011
    Given a GPU with 8 GiB
    And a pool named old that needs 2 GiB on the GPU    share_devices=true
    And a pool named next that needs 2 GiB on the GPU    share_devices=true
    And pool old has been preloaded
    And a lease is held on pool old
    And XID 95 is reported for the GPU
    And the GPU shows health quarantined
    When pool next is preloaded
    Then the preload of pool next fails within 1 s with GPU_UNAVAILABLE
    And pool next stays in phase failed for 700 ms
    And no engine process of pool next was started
    When the lease is released
    Then pool next becomes ready within 5 s
    And the GPU shows health ok

One bad device of a mask is enough
    [Tags]    B-PREFLIGHT-011
    Given a GPU named good with 8 GiB
    And a GPU named bad with 8 GiB
    And a pool on GPUs good and bad    tensor_split=[1, 1]
    And GPU bad is lost
    When the pool is preloaded
    Then the preload fails within 1 s with GPU_UNAVAILABLE
    And the error names GPU bad
    And the pool is in phase failed
    And no engine process was started


*** Keywords ***
The event for phase preflight is followed by the one for phase starting
    ${events} =    Get Events    the pool    kind=phase
    Should Be Equal    ${events}[0][to]    preflight
    Should Be Equal    ${events}[1][from]    preflight
    Should Be Equal    ${events}[1][to]    starting
    Should Be Equal    ${events}[1][code]    ${None}

A pool whose GPU is ${state} and shown as ${shown} stays failed until it is well, and becomes ready by itself
    ${name} =    Evaluate    'on-' + $state.replace('_', '-')
    Define GPU    ${name}    8 GiB
    Define Pool
    ...    ${name}
    ...    gpu=${name}
    ...    restart.initial_ms=50 ms
    ...    restart.floor_ms=50 ms
    ...    restart.max_ms=100 ms
    Get Device Field    ${name}    health    ==    ok    within=1 s
    Set GPU Health    ${state}    ${name}
    Get Device Field    ${name}    health    ==    ${shown}    within=1 s
    Preload Pool    ${name}
    It Should Stay Failed For Want Of Its GPU    ${name}
    Set GPU Health    ok    ${name}
    It Should Become Ready By Itself    ${name}

It Should Become Ready By Itself
    [Arguments]    ${name}
    Pool Should Become    ${name}    ready    within=5 s
    Phases Should Be    ${name}    preflight    failed    preflight    starting    loading    ready

It Should Stay Failed For Want Of Its GPU
    [Arguments]    ${name}
    Load Should Fail    ${name}    GPU_UNAVAILABLE    within=1 s
    Last Error Should Be    ${name}    GPU_UNAVAILABLE
    Error Should Name    GPU ${name}
    Pool Should Stay    ${name}    in phase failed    400 ms
    Engine Should Not Have Been Started    ${name}
