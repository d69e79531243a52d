*** Settings ***
Documentation       A min_ready that no pool could ever have is refused with the pool's id and both numbers.
Resource            PoolManagerResources/scenario.resource
Test Tags           readiness    B-REPLICA-005    OC-POOL-3001
Test Template       A config with min_ready ${min_ready} of ${replicas} replicas is refused


*** Test Cases ***      MIN_READY       REPLICAS
None                    0               2
Fewer than none         -1              1
One too many            2               1
Far too many            7               3


*** Keywords ***
A config with min_ready ${min_ready} of ${replicas} replicas is refused
    Given a pool    replicas=${replicas}    min_ready=${min_ready}
    When the config is reloaded
    Then it is refused with 400 INVALID_REQUEST
    And the error names the pool, min_ready, "${min_ready}" and "${replicas}"
