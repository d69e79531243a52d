*** Settings ***
Documentation    Every refusal is a problem document with a stable code, on HTTP as on gRPC.

Resource         PoolManagerResources/scenario.resource

Test Tags        api


*** Variables ***
${WRITER}    a-token-that-may-do-all
${READER}    a-token-that-may-only-read


*** Test Cases ***
Every refusal over HTTP is a whole problem document
    [Tags]    B-API-028    B-ERROR-002
    [Template]    A refused ${method} ${path} with ${body} is a whole problem document with ${code}
    GET    /v2/nothing    ${None}    NOT_FOUND
    PATCH    /v2/pools    ${None}    METHOD_NOT_ALLOWED
    GET    /v2/pools/nobody    ${None}    POOL_NOT_FOUND
    POST    /v2/pools/{pool}/drain    {"deadline_ms": "x"}    INVALID_REQUEST
    POST    /v2/pools/{pool}/drain    {"deadline    INVALID_REQUEST
    POST    /v2/pools/{pool}/leases    {}    POOL_UNREADY
    PUT    /v2/pools/{pool}/leases/00ff    {}    LEASE_NOT_FOUND
    GET    /v2/events?since=-1    ${None}    INVALID_REQUEST

Even what is no HTTP is refused with a problem document
    [Tags]    B-API-028
    Given a running daemon
    When a caller sends the bytes THIS IS NOT HTTP\r\n\r\n
    Then it is refused with 400 INVALID_REQUEST
    And the daemon still serves

Codes and statuses are those of the one table on both protocols
    [Documentation]    Each step checks the status that belongs to the code on that protocol, and ErrorInfo on gRPC.
    [Tags]    B-API-036
    Given a ready pool    slots=1
    And a pool named idle
    When a caller sends POST /v2/pools/{pool}/leases    {"ttl_ms": -1}
    Then it is refused with 400 INVALID_REQUEST
    When a caller calls gRPC AcquireLease    pool_id=pool    ttl_ms=-1
    Then it is refused with INVALID_ARGUMENT INVALID_REQUEST
    When a caller asks for the status of unknown pool nobody over HTTP
    Then it is refused with 404 POOL_NOT_FOUND
    When a caller asks for the status of unknown pool nobody over gRPC
    Then it is refused with NOT_FOUND POOL_NOT_FOUND
    When a caller sends PUT /v2/pools/{pool}/leases/00ff    {}
    Then it is refused with 404 LEASE_NOT_FOUND
    When a caller calls gRPC RenewLease    pool_id=pool    lease_id=00ff
    Then it is refused with NOT_FOUND LEASE_NOT_FOUND

Refusals of leases and operations have their statuses on both protocols
    [Tags]    B-API-036
    Given a pool named idle
    And a ready pool named busy    slots=1
    And a lease is held on pool busy
    Then a lease on pool idle is refused with 409 POOL_UNREADY and FAILED_PRECONDITION
    And a lease on pool busy is refused with 429 NO_FREE_SLOT and RESOURCE_EXHAUSTED
    When pool busy is drained    deadline=20 s
    Then a lease on pool busy is refused with 409 POOL_DRAINING and FAILED_PRECONDITION
    When pool busy is preloaded
    Then it is refused with 409 CONFLICT
    When pool busy is preloaded over gRPC
    Then it is refused with FAILED_PRECONDITION CONFLICT

An open circuit is refused with its status on both protocols
    [Tags]    B-API-036    B-API-029
    Given a pool whose engine exits with code 3 while loading    breaker.failures=1    breaker.open_ms=90 s
    And the pool's circuit is open
    When the pool is preloaded over gRPC
    Then it is refused with FAILED_PRECONDITION CIRCUIT_OPEN
    And RetryInfo says at most 90 s
    When the pool is preloaded
    Then it is refused with 409 CIRCUIT_OPEN
    And Retry-After is retry_after_ms in whole seconds, rounded up
    And retry_after_ms is between 60000 and 90000

A token is asked for on both protocols
    [Tags]    B-API-036    B-API-028
    Given a daemon of its own with a token and one that only reads
    When a caller sends GET /v2/pools    Authorization=Bearer wrong
    Then it is refused with 401 UNAUTHENTICATED
    When a caller calls gRPC ListPools with the token wrong
    Then it is refused with UNAUTHENTICATED UNAUTHENTICATED
    When a caller sends POST /v2/config/reload    Authorization=Bearer ${READER}
    Then it is refused with 403 FORBIDDEN
    When a caller calls gRPC ReloadConfig with the token ${READER}
    Then it is refused with PERMISSION_DENIED FORBIDDEN

A backoff in progress says when to come again
    [Tags]    B-API-029
    Given a pool whose engine exits with code 3 while loading    restart.initial_ms=20 s    restart.jitter=0
    When a caller waits 5 s for the preload of the pool
    Then it is refused with ENGINE_EXITED
    When a caller asks for a lease on the pool
    Then it is refused with 409 POOL_UNREADY
    And Retry-After is retry_after_ms in whole seconds, rounded up
    And retry_after_ms is between 10000 and 20000
    When a caller asks for a lease on the pool over gRPC
    Then it is refused with POOL_UNREADY
    And RetryInfo says at most 20 s

An error without a known waiting time says null and no Retry-After
    [Tags]    B-API-029
    When a caller asks for the status of unknown pool nobody over HTTP
    Then it is refused with POOL_NOT_FOUND
    And the error's retry_after_ms is ${None}
    And the answer does not carry the header Retry-After

Unknown routes and wrong methods
    [Tags]    B-API-040
    [Template]    Calling ${method} ${path} answers ${status} ${code}
    GET    /nothing    404    NOT_FOUND
    GET    /v2    404    NOT_FOUND
    POST    /v3/pools    404    NOT_FOUND
    GET    /v2/pools/{pool}/nothing    404    NOT_FOUND
    GET    /v2/pools/{pool}/leases/00ff/more    404    NOT_FOUND
    DELETE    /health    405    METHOD_NOT_ALLOWED
    POST    /v2/pools    405    METHOD_NOT_ALLOWED
    GET    /v2/pools/{pool}/preload    405    METHOD_NOT_ALLOWED
    PUT    /v2/pools/{pool}/drain    405    METHOD_NOT_ALLOWED
    PATCH    /v2/pools/{pool}/leases    405    METHOD_NOT_ALLOWED
    GET    /v2/config/reload    405    METHOD_NOT_ALLOWED
    DELETE    /metrics    405    METHOD_NOT_ALLOWED


*** Keywords ***
A caller sends the bytes ${bytes}
    Send Raw Http    ${bytes}

A refused ${method} ${path} with ${body} is a whole problem document with ${code}
    Given there is a pool
    When a caller sends ${method} ${path}    ${body}
    Then it is refused with ${code}
    And its type, detail and correlation id are those of ${code}
    And the answer holds neither a trace nor a file's contents

Its type, detail and correlation id are those of ${code}
    ${problem} =    Answer Body
    ${word} =    Evaluate    $code.lower().replace('_', '-')
    Should Be Equal    ${problem}[type]    urn:pool-managerd:problem:${word}
    Should Be Equal    ${problem}[detail]    ${problem}[message]
    Should Be True    isinstance($problem['details'], dict)
    ${id} =    Answer Header    X-Correlation-Id
    Should Be Equal    ${problem}[correlation_id]    ${id}

There is a pool
    TRY
        Get Pool Id
    EXCEPT    *no pool yet*    type=GLOB
        Define Pool
    END

The answer holds neither a trace nor a file's contents
    ${text} =    Answer Text
    FOR    ${sign}    IN    Traceback    File "    .py    line ${SPACE}    site-packages    [[pool]]    object at 0x
        Should Not Contain    ${text}    ${sign}
    END

Calling ${method} ${path} answers ${status:\d+} ${code}
    Given there is a pool
    When a caller sends ${method} ${path}
    Answer Should Be    ${status} ${code}

A lease on ${pool} is refused with ${http:\d+} ${code} and ${grpc}
    Acquire Lease    ${pool}
    Answer Should Be    ${http} ${code}
    Acquire Lease    ${pool}    protocol=gRPC
    Answer Should Be    ${grpc} ${code}

The pool's circuit is open
    Preload Pool    the pool
    Wait Until Pool Phase    the pool    circuit_open    3 s

RetryInfo says at most ${seconds} s
    ${delay} =    Answer Field    retry_after_ms
    Should Be True    0 < ${delay} <= ${seconds} * 1000

Retry-After is retry_after_ms in whole seconds, rounded up
    ${delay} =    Answer Field    retry_after_ms
    Should Be True    isinstance($delay, int)
    ${seconds} =    Evaluate    str(math.ceil(${delay} / 1000))
    Answer Header    Retry-After    ==    ${seconds}

Retry_after_ms is between ${low} and ${high}
    ${delay} =    Answer Field    retry_after_ms
    Should Be True    ${low} <= ${delay} <= ${high}

The answer does not carry the header ${header}
    Answer Header    ${header}    ==    ${None}

A daemon of its own with a token and one that only reads
    Prepare Daemon    gpus=1    token=${WRITER}    server.token_file=token    server.readonly_token_file=reader
    Write File    token    ${WRITER}
    Write File    reader    ${READER}
    Start Daemon

A caller calls gRPC ${method} with the token ${token}
    VAR    &{metadata} =    authorization=Bearer ${token}
    Call Grpc    ${method}    metadata=${metadata}
