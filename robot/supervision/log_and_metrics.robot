*** Settings ***
Documentation       Every restart that is scheduled is counted with its cause, and its delay is measured.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision    OC-POOL-3011    OC-POOL-3030


*** Test Cases ***
Each scheduled restart is counted with its cause, and its delay added up
    [Tags]    B-SUPER-018
    Given a ready pool    restart.initial_ms=100 ms    restart.floor_ms=10 ms    restart.jitter=0
    And for its next 1 start the engine exits with code 3 while loading
    When the engine is killed
    Then the pool becomes ready within 5 s
    When the engine behaves well again
    And the engine reports a CUDA error
    Then an event of kind restart_scheduled comes within 5 s
    And the metric restart_scheduled_total of the pool is 1    crash_reason=SIGKILL    replica_id=r0
    And the metric restart_scheduled_total of the pool is 1    crash_reason=exit_code    replica_id=r0
    And the metric restart_scheduled_total of the pool is 1    crash_reason=cuda_error    replica_id=r0
    And the metric backoff_delay_seconds_count of the pool is 3
    # 100 ms, 200 ms, and twice 400 ms for the driver.
    And the metric backoff_delay_seconds_sum of the pool is 1.1
    And the event's details.backoff_ms is 800
