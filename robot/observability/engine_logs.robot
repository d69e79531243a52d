*** Settings ***
Documentation    What an engine said before its present start has no consequences any more.

Resource         PoolManagerResources/scenario.resource

Test Tags        observability    OC-POOL-3010


*** Variables ***
&{QUICK}        restart.initial_ms=50 ms    restart.floor_ms=50 ms    liveness.interval_ms=50 ms
${CUDA LINE}    CUDA error: an illegal memory access was encountered


*** Test Cases ***
A fatal line of the run before does nothing to the next one
    [Tags]    B-LOG-010
    Given a ready pool    &{QUICK}
    When the engine reports a CUDA error
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    And the log of the engine has "CUDA error" within 0 s
    And the pool stays ready for 300 ms
    And there was 1 failure with CUDA_ERROR

A line that lay in the log before the start does nothing
    [Tags]    B-LOG-010
    Given a ready pool    &{QUICK}
    And the pool is stopped
    And fatal lines are written behind what the log of the engine says
    When the pool has been preloaded
    Then the pool stays ready for 300 ms
    And there were no failures

Nor does it after the log was copied aside and emptied
    [Tags]    B-LOG-010
    Given a daemon of its own    log.engine_log_max_bytes=20KiB    log.engine_log_keep=2
    And a ready pool    &{QUICK}
    When the engine reports a CUDA error
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    When the engine writes more than its log may hold
    Then the fatal line is in the rotated log within 5 s
    And the pool stays ready for 300 ms
    When the engine is killed
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    And the pool stays ready for 300 ms
    And there was 1 failure with CUDA_ERROR

Nor does it after a restart of the daemon
    [Tags]    B-LOG-010
    Given a daemon of its own
    And a ready pool    &{QUICK}
    When the engine reports a CUDA error
    Then the pool becomes unready within 3 s
    And the pool becomes ready within 10 s
    And the pid of the engine is noted
    When the daemon is killed and started again
    Then the pool becomes ready within 10 s
    And the pool stays ready for 300 ms
    And the engine is still the same process
    And there was 1 failure with CUDA_ERROR
    When the engine reports a CUDA error
    Then the pool becomes unready within 3 s


*** Keywords ***
Fatal lines are written behind what the log of the engine says
    ${path} =    Get State Path    log
    VAR    ${text} =    0.00.001.000 E ggml_cuda_compute_forward: ${CUDA LINE}\n${CUDA LINE}\nload_tensors: offloaded 3/33 layers to GPU\n
    Evaluate    open($path, 'a').write($text)

The engine writes more than its log may hold
    ${lines} =    Evaluate    [f'some words {number} '.ljust(63, '.') for number in range(400)]
    Set Engine Fault    the engine    stdout=${lines}

The fatal line is in the rotated log within ${time}
    ${path} =    Get State Path    log
    Wait Until Keyword Succeeds    ${time}    20 ms    File Should Say    ${path}.1    CUDA error

File Should Say
    [Arguments]    ${path}    ${words}
    ${text} =    Evaluate    pathlib.Path($path).read_text()
    Should Contain    ${text}    ${words}

There was 1 failure with ${code}
    ${failures} =    Get Events    the pool    kind=phase    code=~^(?!ENGINE_EXITED)
    ${codes} =    Evaluate    [one['code'] for one in $failures if one['from'] == 'ready' or one['from'] == 'loading']
    Should Be Equal    ${codes}    ${{ [$code] }}

There were no failures
    Get Event Count    the pool    should be    0    code=~.
