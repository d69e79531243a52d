*** Settings ***
Documentation       A pool that was never configured is said to be unknown, and asking for it makes none.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
Its status is refused over HTTP
    [Tags]    B-REG-003
    When a caller asks for the status of unknown pool nobody over HTTP
    Then it is refused with 404 POOL_NOT_FOUND
    And the error names nobody

Its status is refused over gRPC
    [Tags]    B-REG-003
    When a caller asks for the status of unknown pool nobody over gRPC
    Then it is refused with NOT_FOUND POOL_NOT_FOUND
    And the error names nobody

Its status is refused over the CLI
    [Tags]    B-REG-003
    When a caller asks for the status of unknown pool nobody over the CLI
    Then it exits with 1
    And the error names POOL_NOT_FOUND and nobody

A drain of it creates no pool
    [Tags]    B-REG-072
    Given a pool
    When unknown pool nobody is drained
    Then it is refused with 404 POOL_NOT_FOUND
    When unknown pool nobody is drained    protocol=gRPC
    Then it is refused with NOT_FOUND POOL_NOT_FOUND
    And the pool list over HTTP has every pool once, ordered by id
    When a caller asks for the status of unknown pool nobody over HTTP
    Then it is refused with 404 POOL_NOT_FOUND

A lease on it changes no pool's count
    [Tags]    B-REG-096
    Given these ready pools    name | slots    chat | 2    code | 4
    And a lease is held on pool chat
    And the status of every pool is noted
    When a caller asks for a lease on unknown pool nobody
    Then it is refused with 404 POOL_NOT_FOUND
    And the status of every pool is as noted
    And pool chat shows active_leases 1
    And pool code shows active_leases 0
