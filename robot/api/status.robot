*** Settings ***
Documentation    A pool's status: its fields, in every phase, and equal on both protocols.

Resource         PoolManagerResources/scenario.resource

Test Tags        api    OC-POOL-3003


*** Variables ***
&{QUICK}    restart.initial_ms=100 ms    restart.floor_ms=50 ms


*** Test Cases ***
The status has exactly the fields of the API on both protocols
    [Tags]    B-API-023
    Given a ready pool    slots=3
    Then its status over HTTP has exactly its fields
    And its status over gRPC has exactly its fields
    And HTTP and gRPC show equal values

The status of a failed pool has exactly the fields of the API on both protocols
    [Tags]    B-API-023
    Given a pool whose engine exits with code 3 while loading
    When a caller waits 5 s for the preload of the pool
    Then it is refused with ENGINE_EXITED
    And its status over HTTP has exactly its fields
    And its status over gRPC has exactly its fields
    And the pool shows last_error.code ENGINE_EXITED
    And HTTP and gRPC show equal values

The status is answered in every phase, at each of its three paths
    [Tags]    B-API-020
    Given a pool whose engine needs 400 ms to load and needs 300 ms to stop    breaker.failures=2    &{QUICK}
    Then the pool's three paths answer the same, in phase stopped
    When the pool is preloaded
    Then the pool's three paths answer the same, in phase loading
    And the pool becomes ready within 3 s
    And the pool's three paths answer the same, in phase ready
    When 1 lease is held on the pool for 300 ms
    And the pool is drained
    Then the pool's three paths answer the same, in phase draining
    And the pool's three paths answer the same, in phase stopping
    And the pool's three paths answer the same, in phase stopped

The status is answered while a pool waits, backs off, is tried, or has failed
    [Tags]    B-API-020
    Given a pool whose engine exits with code 3 after 100 ms    breaker.failures=2    breaker.open_ms=600 ms
    ...    restart.initial_ms=300 ms    restart.floor_ms=50 ms    restart.jitter=0
    And a pool named astray    model=models/nowhere.gguf
    When every pool is preloaded
    Then pool astray's three paths answer the same, in phase failed
    And pool pool's three paths answer the same, in phase backoff
    And pool pool's three paths answer the same, in phase circuit_open

The status is answered while a pool waits for its turn to load
    [Tags]    B-API-020
    Given these pools    name | load_ms    one | 800    two | 800    late | 10
    When pool one is preloaded
    And pool two is preloaded
    Then pool two's three paths answer the same, in phase loading
    When pool late is preloaded
    Then pool late's three paths answer the same, in phase preflight
    And pool late's three paths answer the same, in phase ready

An unknown pool is not found, whatever is asked of it
    [Tags]    B-API-021
    [Template]    ${method} ${path} with body ${body} is refused with POOL_NOT_FOUND
    GET    /v2/pools/nobody    ${None}
    GET    /v2/pools/nobody/status    ${None}
    GET    /v2/pools/nobody/health    ${None}
    POST    /v2/pools/nobody/preload    ${None}
    POST    /v2/pools/nobody/drain    {"deadline_ms": 0}
    DELETE    /v2/pools/nobody/drain    ${None}
    POST    /v2/pools/nobody/reload    {"new_model_ref": "small.gguf"}
    POST    /v2/pools/nobody/circuit/reset    ${None}
    GET    /v2/pools/nobody/leases    ${None}
    POST    /v2/pools/nobody/leases    {}
    PUT    /v2/pools/nobody/leases/0123abcd    {}
    DELETE    /v2/pools/nobody/leases/0123abcd    ${None}
    GET    /v2/pools/nobody/logs    ${None}
    GET    /v2/pools/NOBODY!    ${None}

A lease shows in the status at once
    [Tags]    B-API-024
    Given a ready pool    slots=2
    When 1 lease is held on the pool
    Then an event of kind lease comes within 1 s
    And both protocols show active_leases 1 soon after the event
    And both protocols show slots_free 1 soon after the event

A drain shows in the status at once
    [Tags]    B-API-024
    Given a ready pool
    And a lease is held on the pool
    When the pool is drained    deadline=5 s
    Then an event of kind drain comes within 1 s
    And both protocols show draining true soon after the event
    And both protocols show desired stopped soon after the event

A crash and readiness show in the status at once
    [Tags]    B-API-024    OC-POOL-3001
    Given a ready pool    restart.initial_ms=500 ms    restart.floor_ms=50 ms
    When the engine is killed
    Then the pool becomes unready within 1 s
    And both protocols show ready false soon after the event
    And both protocols show live false soon after the event
    And both protocols show last_error.code ENGINE_EXITED soon after the event
    And the pool becomes ready within 4 s
    And both protocols show ready true soon after the event
    And both protocols show restart_count 1 soon after the event


*** Keywords ***
Its status over ${protocol} has exactly its fields
    ${status} =    Get Pool    the pool    ${protocol}
    Status Should Have Exactly Its Fields    ${status}

HTTP and gRPC show equal values
    Protocols Should Agree

${name}'s three paths answer the same, in phase ${phase}
    ${pool} =    Evaluate    'the pool' if $name.lower() == 'the pool' else $name
    Use Pool    ${pool}
    Wait Until Pool Phase    ${pool}    ${phase}    4 s
    Wait Until Keyword Succeeds    3x    0 s    Three Paths Should Answer The Same    ${phase}

Three Paths Should Answer The Same
    [Arguments]    ${phase}
    Http Request    GET    /v2/pools/{pool}
    Answer Should Be    200
    ${document} =    Answer Body
    Should Be Equal    ${document}[phase]    ${phase}
    FOR    ${path}    IN    /v2/pools/{pool}/status    /v2/pools/{pool}/health
        Http Request    GET    ${path}
        Answer Should Be    200
        ${other} =    Answer Body
        Should Be Equal    ${other}    ${document}    msg=Another change came between.
    END

${method} ${path} with body ${body} is refused with POOL_NOT_FOUND
    When a caller sends ${method} ${path}    ${body}
    Then it is refused with 404 POOL_NOT_FOUND
    ${id} =    Evaluate    $path.split('/')[3]
    And the error names "${id}"
    And the error's retriable is false

Both protocols show ${field:[\w.]+} ${value} soon after the event
    Both Protocols Should Show    ${field}    ${value}
