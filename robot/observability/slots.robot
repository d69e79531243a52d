*** Settings ***
Documentation    Slots, leases and readiness: the gauges say what the status says.

Resource         PoolManagerResources/scenario.resource

Test Tags        observability    OC-POOL-3030


*** Test Cases ***
Slots and leases are those of the status after each grant and release
    [Tags]    B-METRICS-008    B-METRICS-009    B-METRICS-010
    Given a pool    slots=4    replicas=2    min_ready=2
    Then the gauges of the pool are those of its status    slots_total=0    slots_free=0    active_leases=0
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    And the gauges of the pool are those of its status    slots_total=8    slots_free=8    active_leases=0
    When a lease is held on the pool
    Then the gauges of the pool are those of its status    slots_total=8    slots_free=7    active_leases=1
    When 3 leases are held on the pool
    Then the gauges of the pool are those of its status    slots_total=8    slots_free=4    active_leases=4
    When the lease is released
    Then the gauges of the pool are those of its status    slots_total=8    slots_free=5    active_leases=3
    When all leases are released
    Then the gauges of the pool are those of its status    slots_total=8    slots_free=8    active_leases=0
    When the pool is stopped
    Then the gauges of the pool are those of its status    slots_total=0    slots_free=0    active_leases=0

They agree after a hundred random grants, releases and renewals, too
    [Tags]    B-METRICS-009    B-METRICS-010
    Given a ready pool    slots=3
    When 100 random lease operations are done on the pool
    Then the gauges of the pool are those of its status    slots_total=3

What becomes of leases is counted
    [Tags]    B-METRICS-010
    Given a ready pool    slots=1
    When a caller asks for a lease on the pool    ttl=100 ms
    Then an event of kind lease comes within 5 s    details.action=expired
    And the metric lease_granted_total of the pool is 1
    And the metric lease_expired_total of the pool is 1
    When a lease is held on the pool
    And another caller asks for a lease in vain
    Then the metric lease_refused_total of the pool is 1    reason=NO_FREE_SLOT
    When the pool is stopped
    Then the metric lease_forced_total of the pool is 1
    And the metric lease_granted_total of the pool is 2
    And the gauges of the pool are those of its status    active_leases=0

The pool is 1 in the metrics only while its status says ready
    [Tags]    B-METRICS-012    OC-POOL-3001
    Given a pool whose engine needs 200 ms to load    restart.initial_ms=100 ms    restart.floor_ms=50 ms
    And metrics and status are watched
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    And both have been looked at meanwhile
    When the engine is killed
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    And both have been looked at meanwhile
    When the pool is stopped
    Then each value of pool_ready fits a status of that moment
    And the metric pool_ready of the pool is 0
    And the metric readiness_transitions_total of the pool is 2    to=ready
    And the metric readiness_transitions_total of the pool is 2    to=unready


*** Keywords ***
The gauges of the pool are those of its status
    [Documentation]    And those have the given values.
    [Arguments]    &{values}
    ${status} =    Gauges Should Agree With Status    the pool
    FOR    ${field}    ${value}    IN    &{values}
        Should Be Equal As Integers    ${status}[${field}]    ${value}    ${field} should be ${value}
    END

Another caller asks for a lease in vain
    Acquire Lease    the pool
    Answer Should Be    NO_FREE_SLOT

Metrics and status are watched
    Start Sampling Surfaces    the pool    metrics    HTTP status

Both have been looked at meanwhile
    Wait For Samples    the pool

Each value of pool_ready fits a status of that moment
    ${count} =    Samples Should Fit The Readiness Events    the pool
    Should Be True    ${count} > 20
