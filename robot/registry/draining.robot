*** Settings ***
Documentation       Whether a pool is being drained can be seen everywhere, from the moment that it was accepted.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
A pool that nobody drained does not drain
    [Tags]    B-REG-073
    Given a pool named idle
    And a ready pool
    Then pool idle shows draining false
    And the pool shows draining false
    When the engine is killed
    And the pool becomes unready within 1 s
    Then the pool shows draining false

A pool drains from the moment that the request is accepted
    [Tags]    B-REG-070    B-REG-071
    Given a ready pool
    And a lease is held on the pool
    When the pool is drained
    Then it answers 202
    And the answer's draining is true
    And draining is true for everybody

A pool drained over gRPC drains from the moment that the call is accepted
    [Tags]    B-REG-070
    Given a ready pool
    And a lease is held on the pool
    When the pool is drained    protocol=gRPC
    Then it is accepted
    And the answer's draining is true
    And draining is true over HTTP and gRPC

A pool that has been stopped does not drain any more
    [Tags]    B-REG-071
    Given a ready pool
    And a lease is held on the pool
    And the pool is drained
    And draining is true over HTTP and gRPC
    When all leases are released
    Then the pool is in phase stopped within 3 s
    And draining is false for everybody

A pool whose drain was cancelled does not drain any more
    [Tags]    B-REG-071
    Given a ready pool
    And a lease is held on the pool
    And the pool is drained
    And draining is true over HTTP and gRPC
    When the drain of the pool is cancelled
    Then it answers 200
    And draining is false over HTTP and gRPC
    And the pool shows    ready true    desired running

A pool that was loaded anew does not drain any more
    [Tags]    B-REG-071
    Given a ready pool
    And a caller waits 5 s for the drain of the pool
    When a caller waits 5 s for the preload of the pool
    Then draining is false over HTTP and gRPC
    And the pool shows ready true


*** Keywords ***
Draining is ${value} for everybody
    [Documentation]    Over HTTP, gRPC and the command line.
    Draining is ${value} over HTTP and gRPC
    Get Pool Field    the pool    draining    ==    ${value}    protocol=the CLI

Draining is ${value} over HTTP and gRPC
    [Documentation]    Without the slow command line.
    Get Pool Field    the pool    draining    ==    ${value}
    Get Pool Field    the pool    draining    ==    ${value}    protocol=gRPC
