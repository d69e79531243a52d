*** Settings ***
Documentation       What becomes of a lease that is over, or never was.
Resource            PoolManagerResources/scenario.resource
Test Tags           leases


*** Test Cases ***
A lease released twice frees one slot
    [Tags]    B-LEASE-007
    Given a ready pool    slots=3
    And 2 leases are held on the pool
    When the lease is released
    Then it answers 204
    And the pool shows    active_leases 1    slots_free 2
    When the released lease is released again
    Then it answers 204
    And the pool shows    active_leases 1    slots_free 2

An expired lease cannot be renewed
    [Tags]    B-LEASE-008
    Given a ready pool
    And a lease is held on the pool    ttl=100 ms
    And an event of kind lease comes within 2 s    details.action=expired
    When the lease is renewed
    Then it is refused with 404 LEASE_NOT_FOUND

A released lease cannot be renewed
    [Tags]    B-LEASE-008
    Given a ready pool
    And a lease is held on the pool
    And the lease is released
    When the released lease is renewed again
    Then it is refused with 404 LEASE_NOT_FOUND

A lease that never was can be neither renewed nor released
    [Tags]    B-LEASE-008
    Given a ready pool
    When Release Lease    0123456789abcdef0123456789abcdef
    Then it is refused with 404 LEASE_NOT_FOUND
    When Renew Lease    0123456789abcdef0123456789abcdef
    Then it is refused with 404 LEASE_NOT_FOUND
    When Release Lease    0123456789abcdef0123456789abcdef    protocol=gRPC
    Then it is refused with NOT_FOUND LEASE_NOT_FOUND

A lease of another pool is none of this one's
    [Tags]    B-LEASE-008
    Given a ready pool named chat
    And a ready pool named code
    And a lease is held on pool chat
    And a lease is held on pool code
    When the lease of pool chat is released through pool code
    Then it is refused with 404 LEASE_NOT_FOUND
    And pool chat shows active_leases 1
    And pool code shows active_leases 1


*** Keywords ***
The lease of pool ${own:[\w-]+} is released through pool ${other:[\w-]+}
    [Documentation]    Its id is right, its pool is not.
    ${leases} =    Get Leases    ${own}
    Http Request    DELETE    /v2/pools/{pool:${other}}/leases/${leases}[0][lease_id]
