*** Settings ***
Documentation       A pool that is not Ready shows the phase of the replica that comes first in the order of phases.
Resource            PoolManagerResources/scenario.resource
Test Tags           readiness    B-RDY-012    OC-POOL-3003
Test Template       A pool with one replica in ${first} and one in ${second} is in phase ${shown}


*** Variables ***
&{BEHAVIOUR}
...             loading=never becomes ready
...             circuit_open=exits with code 3 while loading
...             failed=offloads to the CPU
...             stopping=offloads to the CPU and needs 3 s to stop
...             ready=needs 0 s to load


*** Test Cases ***              FIRST           SECOND          SHOWN
Stopping before loading         loading         stopping        stopping
Stopping before ready           ready           stopping        stopping
Loading before ready            loading         ready           loading
Loading before backoff          backoff         loading         loading
Loading before failed           failed          loading         loading
Loading before stopped          stopped         loading         loading
Backoff before circuit_open     circuit_open    backoff         backoff
Backoff before failed           failed          backoff         backoff
Circuit_open before failed      failed          circuit_open    circuit_open
Circuit_open before stopped     stopped         circuit_open    circuit_open
Failed before stopped           stopped         failed          failed


*** Keywords ***
A pool with one replica in ${first} and one in ${second} is in phase ${shown}
    Given a GPU named r0 with 8 GiB
    And a GPU named r1 with 8 GiB
    And a pool on GPUs r0 and r1    replicas=2    min_ready=2    vram_bytes=2GiB    breaker.failures=1
    And replica r0 is bound for ${first}
    And replica r1 is bound for ${second}
    When the pool is preloaded
    And replica r0 goes its way to ${first}
    And replica r1 goes its way to ${second}
    Then the pool shows    replicas.0.phase ${first}    replicas.1.phase ${second}    within=10 s
    And the pool shows    phase ${shown}    ready false

Replica ${replica} is bound for ${phase}
    [Documentation]    A replica is in backoff for as long as its GPU is full.
    IF    $phase == 'backoff'
        Hold Gpu Memory    7 GiB    GPU ${replica}
    ELSE IF    $phase != 'stopped'
        Engine Does    ${BEHAVIOUR}[${phase}]    engine ${replica}
    END

Replica ${replica} goes its way to ${phase}
    [Documentation]    A replica is in stopped, unasked, when it ended with 0 after it was Ready.
    IF    $phase == 'stopped'
        Wait Until Expression    status['replicas'][${replica[1]}]['ready']    within=10 s
        Engine Does    exits with code 0    engine ${replica}
    END
