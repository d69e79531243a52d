*** Settings ***
Documentation    One id ties a request to its answer, its log lines and its events.

Resource         PoolManagerResources/scenario.resource

Test Tags        api    OC-POOL-3030


*** Variables ***
${ID}    order-4711/~caller.7


*** Test Cases ***
A caller's id comes back on an answer and stands in the log and the events
    [Tags]    B-API-030
    Given a pool
    When a caller with the id ${ID} preloads the pool
    Then it answers 202
    And the answer carries the caller's id
    And the pool becomes ready within 3 s
    And every event of the preload carries the caller's id
    And every log line of these events carries the caller's id

A caller's id comes back on an error and stands in the log and the events
    [Tags]    B-API-030
    Given a pool
    When a caller sends POST /v2/pools/{pool}/leases    {}    X-Correlation-Id=${ID}
    Then it is refused with 409 POOL_UNREADY
    And the answer carries the caller's id
    And the error's correlation_id is ${ID}
    And an event of kind lease comes within 1 s    details.action=refused    correlation_id=${ID}
    And the daemon logs    kind=lease    pool=the pool    correlation_id=${ID}

The id of one caller is not put on what another causes
    [Tags]    B-API-030
    Given a ready pool
    When a caller with the id ${ID} takes a lease for 200 ms
    Then an event of kind lease comes within 1 s    details.action=granted    correlation_id=${ID}
    And an event of kind lease comes within 2 s    details.action=expired    correlation_id=${None}

A request without an id gets a new UUID each time
    [Tags]    B-API-031
    Given a pool
    When a caller sends GET /health
    Then the answer carries a UUID that was not seen before
    When a caller sends GET /v2/pools/{pool}
    Then the answer carries a UUID that was not seen before
    When a caller sends GET /v2/pools/nobody
    Then it is refused with POOL_NOT_FOUND
    And the answer carries a UUID that was not seen before
    When a caller sends POST /v2/pools/{pool}/leases    {}
    Then it is refused with POOL_UNREADY
    And the answer carries a UUID that was not seen before

The longest id that is taken has 128 characters
    [Tags]    B-API-030    B-API-032
    Given a running daemon
    When a caller sends GET /health    X-Correlation-Id=${{ 'x' * 128 }}
    Then the answer's id is ${{ 'x' * 128 }}

An unusable id is replaced and never logged
    [Tags]    B-API-032
    [Template]    The id ${id} is replaced and never logged
    ${{ 'toolong' + 'x' * 122 }}
    ${{ 'tab\there-7f3a' }}
    ${{ 'umlaut-ü-7f3a' }}
    ${{ 'escape-\x1b[31m-7f3a' }}


*** Keywords ***
A caller with the id ${id} preloads the pool
    Preload Pool    the pool    correlation_id=${id}

A caller with the id ${id} takes a lease for ${ttl}
    ${milliseconds} =    Evaluate    int('${ttl}'.split()[0])
    Http Request
    ...    POST
    ...    /v2/pools/{pool}/leases
    ...    {"ttl_ms": ${milliseconds}}
    ...    headers=${{ {'X-Correlation-Id': $id} }}
    Answer Should Be    201

The answer carries the caller's id
    Answer Header    X-Correlation-Id    ==    ${ID}

The answer's id is ${id}
    Answer Header    X-Correlation-Id    ==    ${id}

The answer carries a UUID that was not seen before
    Correlation Id Should Be New

Every event of the preload carries the caller's id
    ${events} =    Get Events    the pool
    Should Be True    len($events) >= 5
    FOR    ${event}    IN    @{events}
        Should Be Equal    ${event}[correlation_id]    ${ID}    msg=${event}
    END

Every log line of these events carries the caller's id
    Daemon Log Should Have    kind=pool_ready    pool=the pool
    ${records} =    Get Daemon Log    pool=the pool
    Should Be True    len($records) >= 5
    FOR    ${record}    IN    @{records}
        Should Be Equal    ${record}[correlation_id]    ${ID}    msg=${record}
    END

The id ${id} is replaced and never logged
    [Documentation]    Sent as raw bytes, because a client library would refuse some of them.
    Given an idle pool
    When the raw request with the id ${id} asks for a lease
    Then it is refused, be it as a request or as no HTTP at all
    And the answer carries a UUID that was not seen before
    And the log holds no trace of the id ${id}

An idle pool
    TRY
        Get Pool Id
    EXCEPT    *no pool yet*    type=GLOB
        Define Pool
    END

The raw request with the id ${id} asks for a lease
    Send Raw Http
    ...    POST /v2/pools/{pool}/leases HTTP/1.1\r\nHost: [::1]\r\nX-Correlation-Id: ${id}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n

It is refused, be it as a request or as no HTTP at all
    ${code} =    Answer Field    code
    Should Contain    ${{ ('POOL_UNREADY', 'INVALID_REQUEST') }}    ${code}

The log holds no trace of the id ${id}
    Daemon Should Run
    ${text} =    Get Daemon Output
    Should Not Contain    ${text}    ${id}
    Should Not Contain    ${text}    toolong
    Should Not Contain    ${text}    7f3a
