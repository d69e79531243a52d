*** Settings ***
Documentation       Live and ready say what the engine is doing, the same to everybody who asks.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
A pool that nobody preloaded is neither live nor ready
    [Tags]    B-REG-004    OC-POOL-3001
    Given a pool
    Then the pool shows    live false    ready false    phase stopped    desired stopped
    And no engine process was started

Live and ready change together with the engine
    [Tags]    B-REG-001    OC-POOL-3001    OC-POOL-3003
    Given a pool whose engine needs 300 ms to load
    And the status is watched
    Then the pool shows    live false    ready false    phase stopped
    When the pool is preloaded
    Then the pool reaches phase loading within 1 s
    And the pool shows    live true    ready false    phase loading
    And the pool becomes ready within 3 s
    And the pool shows    live true    ready true    phase ready
    When the pool is stopped
    Then the pool shows    live false    ready false    phase stopped
    And every status had status['ready'] == (status['phase'] == 'ready')
    And every status had status['live'] or status['phase'] not in ('loading', 'ready')
    And every status had not status['live'] or status['phase'] != 'stopped'

A killed engine takes live and ready along
    [Tags]    B-REG-001    OC-POOL-3001    OC-POOL-3003
    Given a ready pool    restart.initial_ms=30 s
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the pool shows    live false    ready false    phase backoff

A Ready pool can be used by its handoff file alone
    [Tags]    B-REG-100    OC-POOL-3001
    Given a ready pool
    Then the pool shows    live true    ready true
    When a completion of 5 tokens runs without a lease
    Then the completion ends whole within 3 s

A stopped pool is asked twice
    [Tags]    B-REG-002    OC-POOL-3003
    Given a pool
    Then asking twice gives the same over HTTP and gRPC    live false    ready false

A loading pool is asked twice
    [Tags]    B-REG-002    OC-POOL-3003
    Given a pool whose engine never becomes ready
    When the pool is preloaded
    Then the pool reaches phase loading within 2 s
    And asking twice gives the same over HTTP and gRPC    live true    ready false

A Ready pool is asked twice
    [Tags]    B-REG-002    OC-POOL-3003
    Given a ready pool
    Then asking twice gives the same over HTTP and gRPC    live true    ready true

A failed pool is asked twice
    [Tags]    B-REG-002    OC-POOL-3003
    Given a pool whose engine offloads to the CPU    vram_bytes=1 GiB
    When the pool is preloaded
    Then the pool is in phase failed within 3 s
    And asking twice gives the same over HTTP and gRPC    live false    ready false


*** Keywords ***
Asking twice gives the same over HTTP and gRPC
    [Documentation]    These values, and the same in all other fields.
    [Arguments]    @{values}
    Given the pool shows over HTTP    @{values}
    And the pool shows over gRPC    @{values}
    And the status of the pool is noted
    Then the pool shows over HTTP    @{values}
    And the pool shows over gRPC    @{values}
    And the status of the pool is as noted but for vram
    And every view of the pool shows the same
