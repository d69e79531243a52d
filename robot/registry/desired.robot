*** Settings ***
Documentation       What a pool is desired to be is the operator's word; fate does not change it.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry    OC-POOL-3003


*** Test Cases ***
A preload and a drain say what is desired
    [Tags]    B-REG-074
    Given a pool
    Then the pool shows desired stopped
    When the pool is preloaded
    Then the answer's desired is running
    And the pool is in phase ready within 3 s
    And the pool shows desired running
    When the pool is drained
    Then the answer's desired is stopped
    And the pool is in phase stopped within 3 s
    And the pool shows desired stopped

A crash does not change it
    [Tags]    B-REG-074
    Given a ready pool    restart.initial_ms=30 s
    When the engine is killed
    Then the pool is in phase backoff within 2 s
    And the pool shows desired running

An open circuit does not change it
    [Tags]    B-REG-074
    Given a pool whose engine exits with code 3 while loading
    ...    restart.initial_ms=50 ms    restart.floor_ms=50 ms    breaker.failures=2
    When the pool is preloaded
    Then the pool is in phase circuit_open within 3 s
    And the pool shows desired running

A failure for good does not change it
    [Tags]    B-REG-074
    Given a pool whose engine offloads to the CPU    vram_bytes=1 GiB
    When the pool is preloaded
    Then the pool is in phase failed within 3 s
    And the pool shows desired running

An exit 0 does not change it
    [Tags]    B-REG-074
    Given a ready pool
    When the engine exits with code 0
    Then the pool is in phase stopped within 2 s
    And the pool shows desired running

A restart of the daemon changes neither
    [Tags]    B-REG-074
    Given a daemon of its own
    And a ready pool named wanted
    And a ready pool named unwanted    preload=True
    And a caller waits 5 s for the drain of pool unwanted
    When the daemon is killed and started again
    Then pool wanted shows    desired running    ready true    within=5 s
    And pool unwanted shows    desired stopped    phase stopped
