*** Settings ***
Documentation       Only so many replicas load at the same time; the others wait for their turn without a process.
Resource            PoolManagerResources/scenario.resource
Test Tags           preload    B-PRELOAD-050    OC-POOL-3001


*** Test Cases ***
Two replicas load at the same time unless the config says otherwise
    Given 5 pools    load_ms=250 ms
    When every pool is preloaded
    Then 3 pools wait for their turn without a process
    And every pool becomes ready within 10 s
    And 2 replicas have loaded at the same time, never more
    And Default Should Be    server.max_parallel_loads    2

Replicas of one pool take turns as well
    Given a pool whose engine needs 150 ms to load    replicas=4    min_ready=4
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    And 2 replicas have loaded at the same time, never more

A failed load gives its turn to the next
    Given a pool named one whose engine never becomes ready    readiness.timeout_ms=300 ms    restart.initial_ms=30 s
    And a pool named two whose engine exits with code 3    restart.initial_ms=30 s
    And a pool named three
    When every pool is preloaded
    Then pool three is ready within 5 s
    And pool one is in phase backoff within 5 s
    And pool two is in phase backoff within 5 s

The readiness clock starts when the turn comes
    [Tags]    B-PRELOAD-013    OC-POOL-3002    OC-POOL-3003
    Given a daemon of its own    server.max_parallel_loads=1
    And a pool named first whose engine needs 1 s to load
    And a pool named second    readiness.timeout_ms=700 ms
    When pool first is preloaded
    And pool second is preloaded
    Then pool first is ready within 10 s
    And pool second is ready within 10 s
    And pool second waited 700 ms at least for its turn
    And pool second goes through preflight, preflight, starting, loading, ready
    And 1 replica has loaded at the same time, never more


*** Keywords ***
${count} pools wait for their turn without a process
    Pools Should Wait Without A Process    ${count}

${count} replica${s:s?} ${have:have|has} loaded at the same time, never more
    ${most} =    Get Most Loading At Once
    Should Be Equal As Integers    ${most}    ${count}

Pool ${name} is ready within ${time}
    Wait Until Pool Is Ready    ${name}    ${time}

Pool ${name} waited ${time} at least for its turn
    Time Between Phases    preflight    starting    >=    ${time}    ${name}
