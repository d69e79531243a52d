*** Settings ***
Documentation       An engine that exits while it loads fails the load at once, with exit code 0 too, and counts as a failure.
Resource            PoolManagerResources/scenario.resource
Test Tags           preload    B-PRELOAD-031    B-PRELOAD-048    OC-POOL-3002    OC-POOL-3003
Test Template       A load whose engine ${behaviour} fails at once and shows ${field} ${value}


*** Test Cases ***      BEHAVIOUR               FIELD                   VALUE
Exit code 0             exits with code 0       details.exit_code       0
Exit code 3             exits with code 3       details.exit_code       3
Segmentation fault      dies of SIGSEGV         details.signal          SIGSEGV
Killed                  dies of SIGKILL         details.signal          SIGKILL


*** Keywords ***
A load whose engine ${behaviour} fails at once and shows ${field} ${value}
    Given a pool whose engine needs 60 s to load    restart.initial_ms=30 s
    And for its next 1 start the engine ${behaviour} after 150 ms
    When the pool is preloaded
    Then the preload fails within 2 s with ENGINE_EXITED
    And the error's ${field} is ${value}
    And the pool shows    phase backoff    breaker.failures 1    live false    ready false    within=2 s
    And no files of the pool are left
