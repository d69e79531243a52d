*** Settings ***
Documentation       A successor starts only when the memory of the stopped engine is really free again; who still holds it is named.
Library             DateTime
Resource            PoolManagerResources/scenario.resource
Test Tags           memory    OC-POOL-3002


*** Variables ***
&{AT_ONCE}      restart.initial_ms=50 ms    restart.floor_ms=50 ms    restart.max_ms=100 ms


*** Test Cases ***
After a stop the successor waits until the old process is no longer listed with memory
    [Tags]    B-MEM-009
    Given a GPU with 16 GiB
    And a ready pool whose engine keeps its GPU memory for 800 ms after its end    gpu=the GPU    needs=3 GiB
    And the pid of the engine is noted
    When the pool is stopped
    And the pool is preloaded
    Then the pool becomes ready within 4 s
    And the engine was started no sooner than 600 ms after the old one had ended
    And the engine is another process

After a crash the successor waits as well, also for what a child held
    [Tags]    B-MEM-009
    Given a GPU with 16 GiB
    And a ready pool whose engine keeps its GPU memory for 800 ms after its end and starts a child    gpu=the GPU    needs=3 GiB
    ...    simulated.child_vram_bytes=1 GiB    &{AT_ONCE}
    When the engine is killed
    Then the pool becomes unready within 500 ms
    And the pool becomes ready within 4 s
    And the engine was started no sooner than 600 ms after the old one had ended

Where pids cannot be matched the device's used memory has to fall by what the engine held
    [Tags]    B-MEM-009
    Given a daemon of its own
    And the driver shows processes of another namespace
    And a GPU with 16 GiB
    And another program holds 2 GiB of the GPU
    And a ready pool whose engine keeps its GPU memory for 800 ms after its end    gpu=the GPU    needs=3 GiB
    When the pool is stopped
    And the pool is preloaded
    Then the pool becomes ready within 4 s
    And the engine was started no sooner than 600 ms after the old one had ended

Memory that is not released in time fails the pool, naming device, bytes and pid
    [Tags]    B-MEM-010    OC-POOL-3003
    Given a GPU with 16 GiB
    And a ready pool whose engine keeps its GPU memory for 3 s after its end    gpu=the GPU    needs=3 GiB    stop.vram_release_ms=300 ms
    And the pid of the engine is noted
    When the pool is stopped
    And the pool is preloaded
    Then the preload fails within 2 s with INSUFFICIENT_VRAM
    And the error names the device, 3 GiB
    And the error names the pid of the noted engine as holder
    And no engine process was started
    And the GPU is held by    a child of the pool with 3 GiB
    And the pool becomes ready within 5 s

Memory that is not released in time is told without a pid where pids cannot be matched
    [Tags]    B-MEM-010    OC-POOL-3003
    Given a daemon of its own
    And the driver shows processes without their bytes
    And a GPU with 16 GiB
    And a ready pool whose engine keeps its GPU memory for 3 s after its end    gpu=the GPU    needs=3 GiB    stop.vram_release_ms=300 ms
    When the pool is stopped
    And the pool is preloaded
    Then the preload fails within 2 s with INSUFFICIENT_VRAM
    And the error names the device, 3 GiB
    And the error's details.holder_pid is null
    And the pool becomes ready within 5 s


*** Keywords ***
The engine was started no sooner than ${time} after the old one had ended
    [Documentation]    By the events: its first phase after the checks, and the old one's last.
    Time From End To Start    >=    ${time}

The error names the pid of the noted engine as holder
    ${pids} =    Get Events    the pool    kind=phase    to=loading
    Error Field    details.holder_pid    ==    ${pids}[0][details][pid]

Time from end to start
    [Arguments]    ${operator}    ${time}
    ${events} =    Get Events    the pool    kind=phase
    ${starts} =    Evaluate    [one for one in $events if one['to'] == 'starting']
    ${ends} =    Evaluate    [one for one in $events if one['to'] in ('stopped', 'backoff')]
    ${from} =    Evaluate    datetime.datetime.fromisoformat($ends[0]['at'])
    ${to} =    Evaluate    datetime.datetime.fromisoformat($starts[-1]['at'])
    ${limit} =    Convert Time    ${time}
    Should Be True    ($to - $from).total_seconds() ${operator} ${limit}
