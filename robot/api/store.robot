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

A watcher whose past cannot be read is refused before its stream begins, and comes again
    [Tags]    B-EVENT-003    B-EVENT-004
    Given a daemon of its own
    And a ready pool    preload=True
    And the newest revision is noted
    When the daemon is killed and started again
    And the pool becomes ready within 5 s
    And the state database is made unusable
    Then an event of kind daemon of the daemon comes within 3 s    to=store_unavailable
    When a watcher over HTTP comes that has seen the noted revision
    Then it is refused with 503 STORE_UNAVAILABLE
    And the error names the state database
    When a watcher over gRPC comes that has seen the noted revision
    Then it is refused with UNAVAILABLE STORE_UNAVAILABLE
    And a watcher of what happens from now on is served
    When the state database is usable again
    Then an event of kind daemon of the daemon comes within 3 s    to=store_available
    And the watcher over HTTP and the watcher over gRPC get all that happened since


*** Keywords ***
The newest revision is noted
    ${list} =    Get Pool List
    VAR    ${NOTED} =    ${list}[revision]    scope=TEST

A watcher over HTTP comes that has seen the noted revision
    Http Request    GET    /v2/events?since=${NOTED}

A watcher over gRPC comes that has seen the noted revision
    Call Grpc Stream    Watch    at_most=1    since=${NOTED}

A watcher of what happens from now on is served
    Start Watching    name=new
    ${events} =    Get Watched Events    new    at_least=1
    Should Be Equal    ${events}[0][kind]    daemon

The watcher over HTTP and the watcher over gRPC get all that happened since
    [Documentation]    The adoption was while no watcher could read of it, and is in the store and in memory only.
    ${list} =    Get Pool List
    ${http} =    Read Event Stream    until=${list}[revision]    since=${NOTED}
    Call Grpc Stream    Watch    at_most=${{ len($http) }}    since=${NOTED}
    ${grpc} =    Answer Body
    Should Be Equal    ${grpc}    ${http}
    Should Contain    ${{ [one['kind'] for one in $http] }}    adopted
    Should Not Contain    ${{ [one['kind'] for one in $http] }}    gap

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
