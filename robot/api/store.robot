*** Settings ***
Documentation    Without its state database the daemon goes on, and refuses what it could not keep.

Resource         PoolManagerResources/scenario.resource

Test Tags        api    B-ERROR-001


*** Test Cases ***
Without its database the daemon answers, refuses commits, and recovers
    Given a daemon of its own
    And a ready pool    slots=2
    And a pool named other
    And a model file other.gguf
    When the state database is made unusable
    And a caller asks for a lease on pool pool
    Then it is refused with 503 STORE_UNAVAILABLE
    And the error names the state database
    When pool pool is drained
    Then it is refused with 503 STORE_UNAVAILABLE
    When pool other is preloaded
    Then it is refused with 503 STORE_UNAVAILABLE
    When pool pool is reloaded to other.gguf
    Then it is refused with 503 STORE_UNAVAILABLE
    When a caller asks for a lease on pool pool over gRPC
    Then it is refused with UNAVAILABLE STORE_UNAVAILABLE
    And status, health and ready go on answering
    And pool pool is ready
    When the state database is usable again
    Then leases are granted within 3 s
    And ready says that the store is ok


*** Keywords ***
The state database is made unusable
    Make State Database Unusable

The error names the state database
    ${folder} =    Get Daemon    state_dir
    Error Should Name    "${folder}/state.db"

Status, health and ready go on answering
    Http Request    GET    /v2/pools/{pool}
    Answer Should Be    200
    Http Request    GET    /health
    Answer Should Be    200
    Answer Field    status    ==    ok
    Http Request    GET    /ready
    Answer Should Be    503
    Answer Field    store    ==    unavailable

The state database is usable again
    Make State Database Usable

Leases are granted within ${time}
    Wait Until Keyword Succeeds    ${time}    50 ms    A Lease Is Granted
    Refusals Are Expected

A Lease Is Granted
    Acquire Lease    pool pool
    Answer Should Be    201

Ready says that the store is ok
    Http Request    GET    /ready
    Answer Field    store    ==    ok
