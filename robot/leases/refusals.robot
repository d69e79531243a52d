*** Settings ***
Documentation       A lease time that makes no sense is refused, for new leases and for renewals.
Resource            PoolManagerResources/scenario.resource
Test Tags           leases    B-LEASE-012
Test Template       A lease with ttl_ms ${ttl} is refused, granted or renewed


*** Test Cases ***      TTL
Zero                    0
A negative number       -5
A fraction              100.5
A text                  "soon"
A number as text        "500"
A truth value           true
One above max_ttl_ms    60001
An absurd one           1e300


*** Keywords ***
A lease with ttl_ms ${ttl} is refused, granted or renewed
    [Documentation]    Neither is a slot taken, nor does the lease change that is there.
    Given a ready pool    lease.ttl_ms=20 s    lease.max_ttl_ms=60 s
    And a lease is held on the pool
    ${before} =    Get Leases
    When a caller sends POST /v2/pools/{pool}/leases    {"ttl_ms": ${ttl}}
    Then it is refused for its ttl_ms
    When a caller sends PUT /v2/pools/{pool}/leases/${before}[0][lease_id]    {"ttl_ms": ${ttl}}
    Then it is refused for its ttl_ms
    ${after} =    Get Leases
    Should Be Equal    ${after}    ${before}

It is refused for its ttl_ms
    [Documentation]    INVALID_REQUEST that names the field.
    Answer Should Be    400 INVALID_REQUEST
    Error Field    details.field    ==    ttl_ms
