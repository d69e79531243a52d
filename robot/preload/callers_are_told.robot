*** Settings ***
Documentation       A caller who waits for a preload that fails is told why, over every protocol.
Resource            PoolManagerResources/scenario.resource
Test Tags           preload    B-PRELOAD-033    OC-POOL-3002    OC-POOL-3003
Test Template       A caller over ${protocol} is told of the readiness timeout by ${status}


*** Test Cases ***      PROTOCOL    STATUS
By HTTP                 HTTP        504
By gRPC                 gRPC        DEADLINE_EXCEEDED
By the command line     the CLI     1


*** Keywords ***
A caller over ${protocol} is told of the readiness timeout by ${status}
    Given a pool whose engine never becomes ready    readiness.timeout_ms=300 ms    restart.initial_ms=30 s
    When a caller waits 10 s for the preload of the pool over ${protocol}
    Then it is refused with READINESS_TIMEOUT
    And Answer Should Be    ${status}
    And the answer's code is READINESS_TIMEOUT
    And the answer says what to do about it

The answer says what to do about it
    ${error} =    Error Field    hint
    Should Not Be Empty    ${error}
