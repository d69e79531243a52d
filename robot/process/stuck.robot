*** Settings ***
Documentation    What no signal can end keeps its devices: the replica says so and nothing is started in its place.

Resource         PoolManagerResources/scenario.resource

Test Tags        process


*** Test Cases ***
An engine that cannot be killed keeps its replica stopping and its devices reserved
    [Documentation]    A process that hangs in the kernel, as some do in a GPU driver, outlasts SIGKILL. Here a tracer holds it.
    [Tags]    B-PROC-018
    Given a GPU with 8 GiB
    And a pool named stuck that needs 6 GiB on the GPU    stop.grace_ms=50 ms    share_devices=true
    And a pool named next that needs 4 GiB on the GPU
    ...    share_devices=true
    ...    restart.initial_ms=10 s
    ...    restart.max_ms=10 s
    And pool stuck has been preloaded
    And the engine of pool stuck cannot be killed
    When pool stuck is drained    deadline=0 s
    Then the last error of pool stuck names its pid and the waiting time within 5 s
    And pool stuck is in phase stopping
    And the GPU shows memory_reserved_bytes 6442450944
    When pool next is preloaded
    Then the preload of pool next fails within 1 s with INSUFFICIENT_VRAM
    And no engine process of pool next was started
    When pool stuck is preloaded
    Then it is refused with CONFLICT
    And pool stuck has 1 engine process
    And pool stuck stays in phase stopping for 200 ms
    When the stuck engine can end after all
    Then pool stuck reaches phase stopped within 3 s
    And pool next becomes ready within 3 s


*** Keywords ***
The engine of pool ${name} cannot be killed
    ${pid} =    Make Engine Unkillable    ${name}
    VAR    ${STUCK} =    ${pid}    scope=TEST

The last error of pool ${name} names its pid and the waiting time within ${time}
    Wait Until Keyword Succeeds    ${time}    50 ms
    ...    Get Last Error    ${name}    message    matches    pid ${STUCK} cannot be killed, [0-9]+ s
    Get Last Error    ${name}    details.pids    ==    ${{ [$STUCK] }}
    Get Last Error    ${name}    details.waited_ms    >=    ${1000}

The stuck engine can end after all
    Let Engine End
