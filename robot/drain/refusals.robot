*** Settings ***
Documentation       A deadline that makes no sense is refused, and nothing is touched.
Resource            PoolManagerResources/scenario.resource
Test Tags           drain    B-DRAIN-013
Test Template       A drain with deadline_ms ${deadline} is refused and the pool serves on


*** Test Cases ***              DEADLINE
A negative number               -1
A text                          "soon"
A number as text                "500"
A fraction                      0.5
A truth value                   true
One above max_deadline_ms       60001
An absurd one                   1e300


*** Keywords ***
A drain with deadline_ms ${deadline} is refused and the pool serves on
    [Documentation]    Nothing of the pool changes.
    Given a ready pool    drain.deadline_ms=1 s    drain.max_deadline_ms=60 s
    When a caller sends POST /v2/pools/{pool}/drain    {"deadline_ms": ${deadline}}
    Then it is refused with 400 INVALID_REQUEST
    And the error points at deadline_ms
    And the pool shows    ready true    draining false    desired running
    When a caller asks for a lease on the pool
    Then it answers 201
