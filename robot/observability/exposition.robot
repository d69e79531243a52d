*** Settings ***
Documentation    A scrape as a whole: its form, which series it has, and that it comes whatever goes wrong elsewhere.

Resource         PoolManagerResources/scenario.resource

Test Tags        observability    OC-POOL-3030


*** Test Cases ***
A scrape is strictly valid, and its names follow the rules
    [Tags]    B-METRICS-013
    Given a pool that has been through much
    Then the metrics are well formed
    And every event kind has a series

Promtool has nothing to say
    [Tags]    B-METRICS-013
    Given a pool that has been through much
    Then Promtool Should Accept The Metrics

What callers choose adds no time series
    [Tags]    B-METRICS-014
    Given a ready pool    slots=1
    And a caller has asked for what is not there
    And the time series are counted
    When 100 more requests name what is not there
    Then no time series was added
    And every label is of a known name

The series of a pool end with it
    [Tags]    B-METRICS-015
    Given a ready pool named leaving
    And a ready pool named staying
    And 1 lease is held on pool leaving
    Then Series Of Pool Should Exist    leaving
    When pool leaving is removed from the config
    And the config is reloaded
    Then Series Of Pool Should Be Gone    leaving
    And Series Of Pool Should Exist    staying
    When all leases are released
    And no process of pool leaving is left within 10 s
    Then Series Of Pool Should Be Gone    leaving

A pool that comes back begins at zero
    [Tags]    B-METRICS-015
    Given a ready pool
    When the pool is removed from the config
    And the config is reloaded
    Then the pool's series have ended
    When the pool is in the config again within 10 s
    Then the metric preload_success_total of the pool is 0
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    And the metric preload_success_total of the pool is 1

Scrapes are answered while an engine hangs
    [Tags]    B-METRICS-016
    Given a ready pool    liveness.interval_ms=50 ms    liveness.probe_timeout_ms=2 s
    When the engine hangs
    Then each of 10 scrapes is answered within 1 s
    When a probe of the engine has failed
    Then each of 3 scrapes is answered within 1 s

Scrapes are answered while the NVML library blocks
    [Tags]    B-METRICS-016
    Given a daemon of its own
    And a GPU with 8 GiB
    And a ready pool    liveness.interval_ms=50 ms
    When the device library hangs
    Then each of 20 scrapes is answered within 1 s
    And the metric vram_total_bytes of the GPU is 8 GiB
    When the device library works again
    Then the GPU shows stale false
    And the pool is ready


*** Keywords ***
The pool's series have ended
    Metric Should Not Exist    preload_success_total    pool=the pool

A pool that has been through much
    [Documentation]    So that most families have a series.
    Given a ready pool    slots=1    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And a lease is held on the pool
    And a model file other.gguf
    Reload Pool    other.gguf    drain_deadline=50 ms    wait=5 s
    Answer Should Be    DRAIN_TIMEOUT
    When all leases are released
    And the engine is killed
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s

Every event kind has a series
    FOR    ${kind}    IN    @{{ PoolManagerLibrary.codes.EVENT_KINDS }}
        Get Series Count    events_total    equals    1    kind=${kind}
    END

A caller has asked for what is not there
    Ask For What Is Not There    2

The time series are counted
    Remember Series

${count:\d+} more requests name what is not there
    Ask For What Is Not There    ${count}

No time series was added
    Series Should Be Those Remembered

Every label is of a known name
    Labels Should Be Among    pool_id    replica_id    device    engine    engine_version    kind    reason    to    outcome
    ...    crash_reason    xid_class    phase    index    name    version    le

The pool is in the config again within ${time}
    [Documentation]    A config that names it again is a conflict until its engine has ended.
    When the pool is changed in the config    slots=2
    Wait Until Keyword Succeeds    ${time}    20 ms    The Config Is Reloaded And In Force

The config is reloaded and in force
    When the config is reloaded
    Answer Should Be    200

A probe of the engine has failed
    Get Metric    probe_failures_total    should be    1    within=5 s    pool=the pool

Each of ${count:\d+} scrapes is answered within ${time}
    FOR    ${_}    IN RANGE    ${count}
        When a caller sends GET /metrics
        Then it answers 200
        And it takes at most ${time}
    END
