*** Settings ***
Documentation       The state database may be lost, or not take a write: engines and what was promised do not depend on that.
Resource            PoolManagerResources/scenario.resource
Test Tags           persistence


*** Test Cases ***
A database that cannot be used is set aside, and the engines are adopted from their handoff files
    [Tags]    B-PERSIST-013
    Given a daemon of its own
    And a ready pool
    And the pid of the engine is noted
    Then a database that has become text is set aside, and the engine adopted
    And a database that has become damaged pages is set aside, and the engine adopted
    And a database that has become another program's is set aside, and the engine adopted

A crash is announced although the store blocks
    [Tags]    B-PERSIST-019    OC-POOL-3001
    Given a daemon of its own
    And a ready pool named calm    preload=True
    And a ready pool    restart.initial_ms=30 s    restart.jitter=0
    When another program locks the state database
    And the engine is killed
    Then the pool becomes unready within 1 s
    And who watches the events was told within 1 s
    And the pool shows    ready false    live false    phase backoff    last_error.code ENGINE_EXITED
    And an event of kind daemon of the daemon comes within 5 s    to=store_unavailable    code=STORE_UNAVAILABLE
    When the other program unlocks the state database
    Then leases on pool calm are granted within 5 s
    And the status of the pool is noted
    When the daemon is killed and started again
    Then the status of the pool is as noted

What was promised is in force after a kill right after the answer
    [Tags]    B-PERSIST-017
    Given a daemon of its own
    And a model file other.gguf
    And a ready pool named leased    preload=True
    And a ready pool named drained    preload=True
    And a ready pool named moved    preload=True
    When a caller asks for a lease on pool leased    ttl=120 s
    And the daemon is killed and started again
    Then the lease that was granted is listed, until the same time
    When a caller waits 5 s for the drain of pool drained
    And the daemon is killed and started again
    Then pool drained shows    desired stopped    live false    phase stopped    within=5 s
    When pool moved is reloaded to other.gguf
    And the daemon is killed and started again
    Then pool moved shows    model other.gguf    ready true    within=10 s
    And the lease that was granted is listed, until the same time
    And pool drained shows    desired stopped    live false    phase stopped


*** Keywords ***
A database that has become ${what} is set aside, and the engine adopted
    [Documentation]    Under a new name, with a warning that says it.
    Kill Daemon
    Damage State Database    ${what}
    Start Daemon
    Engine Should Have Been Adopted
    A Warning Says Where The Old Database Is
    Http Request    GET    /ready
    Answer Should Be    200
    Answer Field    store    equals    ok

A Warning Says Where The Old Database Is
    [Documentation]    In an event and in the log.
    ${warning} =    Wait For Event    within=40 s    kind=daemon    to=warning    code=STORE_UNAVAILABLE
    Should Match Regexp    ${warning}[details][path]    /state\\.db\\.damaged-[^/]+$
    ${is there} =    Evaluate    os.path.isfile($warning['details']['path'])    modules=os
    Should Be True    ${is there}
    Daemon Log Should Have    level=warning    human=~set aside as

Who watches the events was told within ${time}
    [Documentation]    Of each of them, after its own time.
    Event Delays Should Be Short    at_most=${time}

Leases on pool ${name} are granted within ${time}
    Wait Until Keyword Succeeds    ${time}    50 ms    A Lease Is Granted    ${name}
    Refusals Are Expected

A Lease Is Granted
    [Arguments]    ${name}
    Acquire Lease    ${name}
    Answer Should Be    201

The lease that was granted is listed, until the same time
    ${granted} =    Get Granted Leases    leased
    Http Request    GET    /v2/pools/{pool:leased}/leases
    ${listed} =    Answer Body
    Should Be Equal    ${listed}[leases][0][lease_id]    ${granted}[0][lease_id]
    Should Be Equal    ${listed}[leases][0][expires_at]    ${granted}[0][expires_at]
    Length Should Be    ${listed}[leases]    1
