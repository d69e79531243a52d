*** Settings ***
Documentation    gRPC is the control plane: it has all that HTTP has, and both show one state.

Resource         PoolManagerResources/scenario.resource
Library          Collections

Test Tags        api


*** Test Cases ***
Pools are operated over gRPC alone
    [Tags]    B-GRPC-001    OC-POOL-3001
    Given a pool    slots=2
    And a model file other.gguf
    When gRPC Preload is called    wait=5
    Then the answer's done is true
    And the answer's pool.ready is true
    When gRPC GetPool is called
    Then the answer's phase is ready
    When gRPC ListPools is called without a pool
    Then the answer lists the pool
    When gRPC Reload is called    wait=5    new_model_ref=other.gguf
    Then the answer's done is true
    When gRPC GetLogs is streamed    tail=5
    Then some log lines have come
    When gRPC ResetCircuit is called
    Then the answer's breaker.state is closed
    When a lease is held on the pool
    And gRPC Drain is called    deadline_ms=20000
    Then the answer's pool.draining is true
    When gRPC CancelDrain is called
    Then the answer's ready is true
    When gRPC Drain is called    deadline_ms=0    wait=5
    Then the answer's result.outcome is forced

Leases are taken over gRPC alone
    [Tags]    B-GRPC-001    OC-POOL-3001
    Given a ready pool    slots=2
    When gRPC AcquireLease is called    holder=tester    ttl_ms=5000
    Then the answer's holder is tester
    When gRPC ListLeases is called
    Then the answer's leases.0.holder is tester
    When gRPC RenewLease is called with that lease    ttl_ms=9000
    Then it answers OK
    When gRPC ReleaseLease is called with that lease
    Then it answers OK
    And the pool shows active_leases 0

The daemon is operated over gRPC alone
    [Tags]    B-GRPC-001    OC-POOL-3001
    Given a pool
    When gRPC GetHealth is called without a pool
    Then the answer's status is ok
    When gRPC GetReady is called without a pool
    Then the answer's store is ok
    When gRPC ListDevices is called without a pool
    Then the answer's source is simulated
    When gRPC ReloadConfig is called without a pool    dry_run=true
    Then the answer's dry_run is true
    When gRPC Watch is streamed for 1 message
    Then the first message is of kind daemon

The default port of gRPC is the one beside that of HTTP
    [Tags]    B-GRPC-001    OC-POOL-3001
    When the operator runs pool-managerd example-config
    Then it exits with 0
    And the answer names \# grpc = "127.0.0.1:9201"
    And the answer names \# http = "127.0.0.1:9200"

What gRPC changes is seen over HTTP, and the other way round
    [Tags]    B-GRPC-002
    Given a pool    slots=2
    And a model file other.gguf
    When the pool is preloaded over gRPC
    Then the pool becomes ready within 3 s
    And over HTTP the pool shows ready true
    When a caller asks for a lease on the pool over gRPC
    Then it answers OK
    And over HTTP the lease is listed
    When a caller asks for a lease on the pool
    Then it answers 201
    And over gRPC the lease is listed
    And over gRPC the pool shows active_leases 2
    When all leases are released
    And the pool is reloaded to other.gguf
    Then an event of kind reload comes within 5 s    to=done
    And over gRPC the pool shows model other.gguf
    When the pool is reloaded to small.gguf    protocol=gRPC
    Then an event of kind reload comes within 5 s    to=done
    And over HTTP the pool shows model small.gguf
    When the pool is drained    protocol=gRPC
    Then the pool is in phase stopped within 3 s
    And over HTTP the pool shows desired stopped

What HTTP changes is seen over gRPC
    [Tags]    B-GRPC-002
    Given a pool
    When the pool is preloaded
    Then the pool becomes ready within 3 s
    And over gRPC the pool shows ready true
    When the pool is drained
    Then the pool is in phase stopped within 3 s
    And over gRPC the pool shows desired stopped

A client without the proto file can call status
    [Tags]    B-GRPC-005
    Given a ready pool
    Then reflection lists the pool manager, health and reflection services
    And a client that knows reflection only sees the pool ready

A gRPC error carries the code, the details and the time to wait
    [Tags]    B-GRPC-006    OC-POOL-3003
    Given a pool whose engine exits with code 3 while loading    breaker.failures=1    breaker.open_ms=60 s
    When a caller waits 5 s for the preload of the pool over gRPC
    Then it is refused with ABORTED ENGINE_EXITED
    And the error's details.exit_code is ${3}
    When the pool is preloaded over gRPC
    Then it is refused with FAILED_PRECONDITION CIRCUIT_OPEN
    And the error's details name the pool's id
    And the error says to wait between 30000 and 60000 ms

A gRPC error without a known waiting time carries no RetryInfo
    [Tags]    B-GRPC-006    OC-POOL-3003
    When a caller asks for the status of unknown pool nobody over gRPC
    Then it is refused with NOT_FOUND POOL_NOT_FOUND
    And the error's details.pool_id is nobody
    And the error's retry_after_ms is ${None}

A message over the configured size is refused
    [Tags]    B-GRPC-007
    Given a daemon of its own    server.max_request_bytes=4KiB
    And a pool
    When gRPC AcquireLease is called    holder=${{ 'x' * 5000 }}
    Then it answers RESOURCE_EXHAUSTED
    When gRPC AcquireLease is called    holder=${{ 'x' * 3000 }}
    Then it is refused with INVALID_ARGUMENT INVALID_REQUEST
    And the error points at holder

Garbage on the gRPC port disturbs nobody
    [Tags]    B-GRPC-007
    Given a ready pool
    And the status is watched
    When garbage is sent to the gRPC port 3 times
    And gRPC GetPool is called
    Then the answer's ready is true
    And every status had status['ready']

The correlation id travels in the metadata
    [Tags]    B-GRPC-008
    Given a pool
    When gRPC AcquireLease is called with the correlation id order-4711
    Then it is refused with POOL_UNREADY
    And the answer's metadata has the correlation id order-4711
    And an event of kind lease comes within 1 s    correlation_id=order-4711
    When gRPC GetPool is called with the correlation id order-4712
    Then it answers OK
    And the answer's metadata has the correlation id order-4712
    When gRPC GetPool is called
    Then the answer's metadata has a new UUID
    When gRPC AcquireLease is called
    Then it is refused with POOL_UNREADY
    And the answer's metadata has a new UUID


*** Keywords ***
gRPC ${method} is called
    [Arguments]    &{fields}
    Call Grpc    ${method}    pool_id=pool    &{fields}

gRPC ${method} is called without a pool
    [Arguments]    &{fields}
    Call Grpc    ${method}    &{fields}

gRPC ${method} is called with that lease
    [Arguments]    &{fields}
    ${leases} =    Get Leases    the pool
    Call Grpc    ${method}    pool_id=pool    lease_id=${leases}[0][lease_id]    &{fields}

gRPC ${method} is called with the correlation id ${id}
    VAR    &{metadata} =    x-correlation-id=${id}
    Call Grpc    ${method}    pool_id=pool    metadata=${metadata}

gRPC ${method} is streamed
    [Arguments]    &{fields}
    Call Grpc Stream    ${method}    pool_id=pool    &{fields}

gRPC ${method} is streamed for 1 message
    Call Grpc Stream    ${method}    at_most=1

The answer lists the pool
    ${id} =    Get Pool Id
    ${pools} =    Answer Field    pools
    Should Contain    ${{ [pool['pool_id'] for pool in $pools] }}    ${id}

Some log lines have come
    Answer Should Be    OK
    ${chunks} =    Answer Body
    ${text} =    Evaluate    b''.join(chunk['data'] for chunk in $chunks).decode()
    Should Be True    1 <= len($text.splitlines()) <= 5

The first message is of kind daemon
    ${messages} =    Answer Body
    Should Be Equal    ${messages}[0][kind]    daemon

Over ${protocol} the pool shows ${field} ${value}
    ${seen} =    Get Pool Field    the pool    ${field}    protocol=${protocol}
    Should Contain    ${{ str($seen).lower() }}    ${value}

Over ${protocol} the lease is listed
    ${id} =    Get Lease    lease_id
    ${leases} =    Get Leases    the pool    protocol=${protocol}
    Should Contain    ${{ [lease['lease_id'] for lease in $leases] }}    ${id}

Reflection lists the pool manager, health and reflection services
    ${services} =    Get Grpc Services
    FOR    ${service}    IN    pool_managerd.v1.PoolManager    grpc.health.v1.Health
    ...    grpc.reflection.v1alpha.ServerReflection
        List Should Contain Value    ${services}    ${service}
    END

A client that knows reflection only sees the pool ready
    Call Grpc By Reflection    GetPool    pool_id=pool
    Answer Field    ready    ==    ${True}

The error's details name the pool's id
    ${id} =    Get Pool Id
    Error Field    details.pool_id    ==    ${id}

The error says to wait between ${low} and ${high} ms
    ${delay} =    Error Field    retry_after_ms
    Should Be True    ${low} < ${delay} <= ${high}

Garbage is sent to the gRPC port ${count} times
    FOR    ${_}    IN RANGE    ${count}
        Send Garbage To Grpc
    END

The answer's metadata has the correlation id ${id}
    Answer Header    x-correlation-id    ==    ${id}

The answer's metadata has a new UUID
    Correlation Id Should Be New
