*** Settings ***
Documentation       A full disk costs no engine and no promise.
Resource            PoolManagerResources/scenario.resource
Test Tags           persistence    OC-POOL-3001


*** Test Cases ***
On a full disk supervision goes on, and with room again everything does
    [Tags]    B-PERSIST-018    B-PERSIST-020    OC-POOL-3003
    Given a daemon of its own
    And the state lies on a disk of 8 MiB
    And a ready pool named calm    preload=True
    And a ready pool named crashing    preload=True    restart.initial_ms=50 ms    restart.floor_ms=50 ms    breaker.failures=100
    And a lease is held on pool calm    ttl=120 s
    When the disk is full
    Then a lease on pool calm is refused for want of the store
    And an event of kind daemon of the daemon comes within 1 s    to=store_unavailable    code=STORE_UNAVAILABLE
    And ready says that the store is unavailable
    And every surface shows pool calm ready
    When the engine of pool crashing is killed
    Then pool crashing becomes unready within 1 s
    And its restart is tried
    And a lease on pool calm is refused for want of the store
    And the lease that was granted before is still listed
    When the disk has room again
    Then leases on pool calm are granted within 5 s
    And an event of kind daemon of the daemon comes within 5 s    to=store_available
    And pool crashing is ready within 10 s
    When the daemon is killed and started again
    Then both leases are listed, and both pools are ready


*** Keywords ***
A lease on pool ${name} is refused for want of the store
    Acquire Lease    ${name}
    Answer Should Be    503    STORE_UNAVAILABLE

Ready says that the store is unavailable
    Http Request    GET    /ready
    Answer Should Be    503
    Answer Field    store    equals    unavailable

Its restart is tried
    [Documentation]    A process is made, whatever becomes of it with no room for its log.
    Wait For Event    crashing    within=3 s    kind=phase    to=backoff    code=ENGINE_EXITED
    Wait For Event    crashing    within=3 s    kind=phase    to=starting    details.restart_count=1

The lease that was granted before is still listed
    Listed Leases Should Be Those Held    calm

Leases on pool ${name} are granted within ${time}
    Wait Until Keyword Succeeds    ${time}    50 ms    A Lease Is Granted    ${name}
    Refusals Are Expected

A Lease Is Granted
    [Arguments]    ${name}
    Acquire Lease    ${name}    ttl=120 s
    Answer Should Be    201

Pool ${name} is ready within ${time}
    Wait Until Pool Is Ready    ${name}    ${time}

Both leases are listed, and both pools are ready
    [Documentation]    The one from before and the one from after.
    Wait Until Pool Is Ready    every pool    5 s
    Listed Leases Should Be Those Held    calm
    ${leases} =    Get Leases    calm
    Length Should Be    ${leases}    2
