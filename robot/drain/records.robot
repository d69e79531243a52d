*** Settings ***
Documentation       Drains can be counted, timed and read about.
Resource            PoolManagerResources/scenario.resource
Test Tags           drain    OC-POOL-3030


*** Test Cases ***
Each finished drain is one observation
    [Tags]    B-DRAIN-009
    Given a ready pool
    And the metric drain_duration_seconds_count of the pool is noted
    And a lease is held on the pool for 300 ms
    When a caller waits 10 s for the drain of the pool
    Then the metric drain_duration_seconds_count of the pool has risen by 1
    And these drains took at least 0.25 s together
    When the pool has been preloaded
    And a lease is held on the pool
    And the pool is stopped
    Then the metric drain_duration_seconds_count of the pool has risen by 2

A drain that is cancelled is no observation
    [Tags]    B-DRAIN-009
    Given a ready pool
    And the metric drain_duration_seconds_count of the pool is noted
    And a lease is held on the pool
    When the pool is drained    deadline=10 s
    And the drain of the pool is cancelled
    Then the pool is ready
    And the metric drain_duration_seconds_count of the pool has risen by 0

A drain that begins with active leases is a warning
    [Tags]    B-DRAIN-010
    Given a ready pool
    And 2 leases are held on the pool
    When the pool is drained    deadline=10 s
    Then the daemon logs    level=warning    event=drain    to=started    pool=the pool    active_leases=2

A drain that begins without leases is none
    [Tags]    B-DRAIN-010
    Given a ready pool
    When a caller waits 10 s for the drain of the pool
    Then the daemon logs    level=info    event=drain    to=started    pool=the pool    active_leases=0
    And the daemon logs nothing with    level=warning    event=drain    pool=the pool


*** Keywords ***
These drains took at least ${seconds:[\d.]+} s together
    [Documentation]    The sum of the observations.
    Get Metric    drain_duration_seconds_sum    pool=the pool    assertion_operator=>=    assertion_expected=${seconds}
