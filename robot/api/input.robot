*** Settings ***
Documentation    What a caller sends is taken literally, or refused with the name of what is wrong.

Resource         PoolManagerResources/scenario.resource

Test Tags        api


*** Test Cases ***
A malformed body is refused with the byte where it breaks
    [Tags]    B-API-033
    Given a pool
    When a caller sends POST /v2/pools/{pool}/drain    {"deadline_ms": 5,,}
    Then it is refused with 400 INVALID_REQUEST
    And the error's details.byte is ${18}
    And the error points at body
    And the daemon still serves

A wrong content type is refused
    [Tags]    B-API-033
    Given a pool
    When a caller sends POST /v2/pools/{pool}/drain    {"deadline_ms": 5}    text/plain
    Then it is refused with 400 INVALID_REQUEST
    And the error points at the content type
    And the daemon still serves

A wrong type of a field is refused with its name
    [Tags]    B-API-033
    [Template]    The body ${body} to ${path} is refused at ${field}
    {"deadline_ms": "5"}    /v2/pools/{pool}/drain    deadline_ms
    {"deadline_ms": 5.5}    /v2/pools/{pool}/drain    deadline_ms
    {"deadline_ms": true}    /v2/pools/{pool}/drain    deadline_ms
    {"deadline_ms": [5]}    /v2/pools/{pool}/drain    deadline_ms
    {"new_model_ref": 7}    /v2/pools/{pool}/reload    new_model_ref
    {"drain_deadline_ms": 5}    /v2/pools/{pool}/reload    new_model_ref
    {"holder": {"name": "x"}}    /v2/pools/{pool}/leases    holder
    {"ttl_ms": "soon"}    /v2/pools/{pool}/leases    ttl_ms
    \[1, 2]    /v2/pools/{pool}/drain    body
    7    /v2/pools/{pool}/leases    body
    {"deadline_ms": 5, "deadline_ms": 6}    /v2/pools/{pool}/drain    deadline_ms

A field or parameter that the API does not know is refused with its name
    [Tags]    B-API-034
    [Template]    The body ${body} to ${path} is refused at ${field}
    {"deadline_ms": 5, "deadline": 5}    /v2/pools/{pool}/drain    deadline
    {"new_model_ref": "small.gguf", "force": true}    /v2/pools/{pool}/reload    force
    {"holder": "me", "ttl": 5}    /v2/pools/{pool}/leases    ttl
    {"wait": 5}    /v2/pools/{pool}/preload    wait
    {}    /v2/pools/{pool}/preload?wait=1&now=1    now
    {}    /v2/pools/{pool}/preload?wait=1&wait=2    wait

Nothing was done by a refused request
    [Tags]    B-API-033    B-API-034
    Given a ready pool
    When a caller sends POST /v2/pools/{pool}/drain    {"deadline_ms": 0, "why": "typo"}
    Then it is refused with 400 INVALID_REQUEST
    And the pool shows    ready true    draining false    desired running
    And no event of kind drain comes within 100 ms

A body that is too large is refused before it has come
    [Tags]    B-API-035
    Given a pool
    When a caller announces a body of 100000000 bytes and sends none of it
    Then it is refused within 1 s with 413 REQUEST_TOO_LARGE
    And the error names "1048576"
    And the daemon still serves

A huge body does not make the daemon grow
    [Tags]    B-API-035
    [Template]    A body of 60 MiB sent ${how} is refused and leaves the daemon's memory alone
    with its length
    in chunks

A body of the largest allowed size is read
    [Tags]    B-API-035
    Given a pool
    When a caller sends 1 MiB to /v2/pools/{pool}/drain
    Then it is refused with 400 INVALID_REQUEST
    And the error points at x

A number that makes no sense is refused with its name
    [Tags]    B-API-045
    [Template]    ${method} ${path} with ${body} is refused at ${field}
    POST    /v2/pools/{pool}/preload?wait=-1    ${None}    wait
    POST    /v2/pools/{pool}/preload?wait=soon    ${None}    wait
    POST    /v2/pools/{pool}/preload?wait=nan    ${None}    wait
    POST    /v2/pools/{pool}/drain?wait=3601    ${None}    wait
    POST    /v2/pools/{pool}/drain?wait=1e300    ${None}    wait
    POST    /v2/pools/{pool}/drain    {"deadline_ms": -1}    deadline_ms
    POST    /v2/pools/{pool}/drain    {"deadline_ms": 99999999999999999999}    deadline_ms
    POST    /v2/pools/{pool}/reload    {"new_model_ref": "x", "drain_deadline_ms": -5}    drain_deadline_ms
    POST    /v2/pools/{pool}/leases    {"ttl_ms": -1}    ttl_ms
    POST    /v2/pools/{pool}/leases    {"ttl_ms": 0}    ttl_ms
    POST    /v2/pools/{pool}/leases    {"ttl_ms": 1e400}    ttl_ms
    PUT    /v2/pools/{pool}/leases/00ff    {"ttl_ms": 99999999999999}    ttl_ms
    GET    /v2/pools/{pool}/logs?tail=-1    ${None}    tail
    GET    /v2/pools/{pool}/logs?tail=all    ${None}    tail
    GET    /v2/pools/{pool}/logs?tail=100001    ${None}    tail
    GET    /v2/events?since=-1    ${None}    since
    GET    /v2/events?since=latest    ${None}    since
    GET    /v2/events?since=9007199254740992    ${None}    since

A number that makes no sense is refused over gRPC too
    [Tags]    B-API-045    B-GRPC-007
    [Template]    gRPC ${method} with ${field} ${value} is refused
    Preload    wait    -1
    Drain    wait    3601
    Drain    deadline_ms    -1
    Drain    deadline_ms    9223372036854775807
    AcquireLease    ttl_ms    0
    AcquireLease    ttl_ms    -1
    Reload    drain_deadline_ms    -5

A stream is refused over gRPC too when its number makes no sense
    [Tags]    B-API-045    B-GRPC-007
    [Template]    gRPC stream ${method} with ${field} ${value} is refused
    Watch    since    -1
    Watch    since    9223372036854775807
    GetLogs    tail    -1
    GetLogs    tail    100001


*** Keywords ***
The error points at the content type
    Error Field    details.field    ==    Content-Type

There is a pool
    TRY
        Get Pool Id
    EXCEPT    *no pool yet*    type=GLOB
        Define Pool
    END

The body ${body} to ${path} is refused at ${field}
    Given there is a pool
    When a caller sends POST ${path}    ${body}
    Then it is refused with 400 INVALID_REQUEST
    And the error points at ${field}

${method} ${path} with ${body} is refused at ${field}
    Given there is a pool
    When a caller sends ${method} ${path}    ${body}
    Then it is refused with 400 INVALID_REQUEST
    And the error points at ${field}

A caller announces a body of ${size} bytes and sends none of it
    Announce Body    /v2/pools/{pool}/drain    ${size}

A body of ${size} sent ${how} is refused and leaves the daemon's memory alone
    Given there is a pool
    ${before} =    Get Daemon Memory
    Http Request With Large Body    /v2/pools/{pool}/drain    ${size}    chunked=${{ $how == 'in chunks' }}
    Then it is refused with 413 REQUEST_TOO_LARGE
    ${after} =    Get Daemon Memory
    Should Be True    ${after} - ${before} < 15 * 2**20

gRPC ${method} with ${field} ${value} is refused
    Given there is a pool
    IF    '${method}' == 'Reload'
        Call Grpc    Reload    pool_id=pool    new_model_ref=small.gguf    ${field}=${value}
    ELSE
        Call Grpc    ${method}    pool_id=pool    ${field}=${value}
    END
    Then it is refused with INVALID_ARGUMENT INVALID_REQUEST
    And the error points at ${field}

gRPC stream ${method} with ${field} ${value} is refused
    Given there is a pool
    IF    '${method}' == 'Watch'
        Call Grpc Stream    Watch    ${field}=${value}
    ELSE
        Call Grpc Stream    ${method}    pool_id=pool    ${field}=${value}
    END
    Then it is refused with INVALID_ARGUMENT INVALID_REQUEST
    And the error points at ${field}
