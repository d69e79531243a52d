*** Settings ***
Documentation    Names, times and numbers have one form in every document, on HTTP and in the proto file.

Resource         PoolManagerResources/scenario.resource

Test Tags        api    B-API-039    B-API-042


*** Test Cases ***
Every answer has the names of its message and plain values
    Given a ready pool    slots=2
    And a lease is held on the pool
    Then GET /ready is a ReadySummary
    And GET /v2/pools is a PoolList
    And GET /v2/pools/{pool} is a PoolStatus
    And GET /v2/pools/{pool}/leases is a LeaseList
    And GET /v2/devices is a DeviceList
    And POST /v2/pools/{pool}/leases is a LeaseStatus
    And POST /v2/config/reload?dry_run=true is a ConfigChanges
    And POST /v2/pools/{pool}/circuit/reset is a PoolStatus
    And POST /v2/pools/{pool}/drain?wait=0.05 is a PoolStatus
    And DELETE /v2/pools/{pool}/drain is a PoolStatus

A failure's times and numbers are plain
    Given a pool whose engine exits with code 3 while loading    breaker.failures=1    breaker.open_ms=60 s
    And the pool has been tried in vain, and waits for its circuit
    When a caller sends GET /v2/pools/{pool}
    Then the answer has the names of PoolStatus and plain values
    And the answer's last_error.details.exit_code is ${3}
    And the times of the failure rise    last_error.at    breaker.open_until

A drain's result is plain
    Given a ready pool
    When a caller sends POST /v2/pools/{pool}/drain?wait=5    {"deadline_ms": 0}
    Then it answers 200
    And the answer has the names of DrainResult and plain values

Every event has the names of its message and plain values
    Given a ready pool    restart.initial_ms=100 ms    restart.floor_ms=50 ms
    When a lease is held on the pool
    And the engine is killed
    Then the pool becomes ready within 4 s
    And every event has the names of Event and plain values

A pool that nobody has started has null where it has no value
    Given a pool
    When a caller sends GET /v2/pools/{pool}
    Then these fields are null
    ...    last_error
    ...    next_restart_at
    ...    breaker.open_until
    ...    replicas.0.pid
    ...    replicas.0.url
    ...    replicas.0.last_error
    ...    replicas.0.next_restart_at


*** Keywords ***
${method:GET|POST|DELETE} ${path:\S+} is a ${message}
    Http Request    ${method}    ${path}
    The Answer Has The Names Of ${message} And Plain Values

The answer has the names of ${message} and plain values
    ${document} =    Answer Body
    Field Names Should Be Those Of    ${message}    ${document}
    ${found} =    Values Should Be Plain    ${document}
    IF    '${message}' not in ('ReadySummary', 'ConfigChanges')
        Should Be True    ${found} > 0
    END

The pool has been tried in vain, and waits for its circuit
    Preload Pool    the pool
    Wait Until Pool Phase    the pool    circuit_open    3 s

The times of the failure rise
    [Arguments]    @{fields}
    VAR    @{times} =    @{EMPTY}
    FOR    ${field}    IN    @{fields}
        ${time} =    Answer Field    ${field}
        VAR    @{times} =    @{times}    ${time}
    END
    Times Should Rise    @{times}

Every event has the names of Event and plain values
    ${events} =    Get Events    the pool
    Should Be True    len($events) > 10
    FOR    ${event}    IN    @{events}
        Event Should Have Exactly Its Fields    ${event}
        Field Names Should Be Those Of    Event    ${event}
        Values Should Be Plain    ${event}
    END

These fields are null
    [Arguments]    @{fields}
    FOR    ${field}    IN    @{fields}
        Answer Field    ${field}    ==    ${None}
    END
