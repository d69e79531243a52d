*** Settings ***
Documentation       While nothing happens the daemon does nothing.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision


*** Test Cases ***
An idle daemon with ten Ready pools uses less than a hundredth of a core
    [Tags]    B-SUPER-046
    Given a daemon of its own    server.max_parallel_loads=10
    And 10 ready pools    liveness.interval_ms=60 s
    Then the daemon uses less than 1 % of a core in the next 3 s


*** Keywords ***
The daemon uses less than ${share:\d+} % of a core in the next ${time}
    ${used} =    Get CPU Time Of Daemon    during=${time}
    ${whole} =    Evaluate    robot.utils.timestr_to_secs($time)    modules=robot.utils
    Should Be True    ${used} < ${share} / 100 * ${whole}    It used ${{ round($used * 1000) }} ms of CPU in ${time}.
