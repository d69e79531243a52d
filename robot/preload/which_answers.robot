*** Settings ***
Documentation       A load goes on past its readiness stage when the engine has answered 200, and for nothing else.
Resource            PoolManagerResources/scenario.resource
Test Tags           preload    B-PRELOAD-012    OC-POOL-3001
Test Template       An engine that ${behaviour} is not ready until it answers 200


*** Test Cases ***                      BEHAVIOUR
It says that it loads                   answers 503 to health checks
It has no such path                     answers 404 to health checks
It is broken                            answers 500 to health checks
It has nothing to say                   answers 204 to health checks
It points elsewhere                     answers 302 to health checks
It takes the connection and hangs       hangs
It refuses the connection               needs 400 ms to listen


*** Keywords ***
An engine that ${behaviour} is not ready until it answers 200
    Given a pool    readiness.probe_timeout_ms=100 ms
    And the engine ${behaviour}
    When the pool is preloaded
    Then the pool reaches phase loading within 3 s
    And the pool stays in phase loading for 200 ms
    And the handoff file of the engine does not exist
    When the engine behaves well again
    Then the pool becomes ready within 5 s
    And Every Ready Should Be Earned
