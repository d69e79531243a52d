*** Settings ***
Documentation    Which suites a run of `bdd-runner` has.

Resource         runs.resource

Test Tags        harness


*** Test Cases ***
One suite file is run alone
    [Tags]    B-HARNESS-001
    Given a folder with the suites    robot/one.robot    robot/two.robot    robot/more/one.robot
    When bdd-runner is run with LLORCH_BDD_FEATURE_PATH set to "robot/one.robot"
    Then the run ends with exit code 0
    And the run has passed exactly    robot/one.robot

A folder is run with all that lies below it, and nothing else
    [Tags]    B-HARNESS-002
    Given a folder with the suites
    ...    robot/one.robot
    ...    robot/more/one.robot
    ...    robot/more/below/two.robot
    ...    robot/moreover.robot
    When bdd-runner is run with LLORCH_BDD_FEATURE_PATH set to "robot/more"
    Then the run ends with exit code 0
    And the run has passed exactly    robot/more/one.robot    robot/more/below/two.robot

Without a path all suites are run
    [Tags]    B-HARNESS-003
    Given a folder with the suites    robot/one.robot    robot/more/below/two.robot    elsewhere/three.robot
    When bdd-runner is run
    Then the run ends with exit code 0
    And the run has passed exactly    robot/one.robot    robot/more/below/two.robot

With an empty path all suites are run
    [Tags]    B-HARNESS-003
    Given a folder with the suites    robot/one.robot    robot/more/below/two.robot    elsewhere/three.robot
    When bdd-runner is run with LLORCH_BDD_FEATURE_PATH set to ""
    Then the run ends with exit code 0
    And the run has passed exactly    robot/one.robot    robot/more/below/two.robot

A path that does not exist is refused by its name
    [Tags]    B-HARNESS-004
    Given a folder with a suite that needs a daemon
    When bdd-runner is run with LLORCH_BDD_FEATURE_PATH set to "robot/nowhere.robot"
    Then the run ends with exit code 252
    And the run says "LLORCH_BDD_FEATURE_PATH names robot/nowhere.robot, which does not exist"
    And the run has started no daemon
    And nothing is left of the run

A path that holds no test is refused by its name
    [Tags]    B-HARNESS-004
    Given a folder with a suite that needs a daemon
    And a folder of suites that hold a setup and no test
    When bdd-runner is run with LLORCH_BDD_FEATURE_PATH set to "robot/no_tests"
    Then the run ends with exit code 252
    And the run says "LLORCH_BDD_FEATURE_PATH names robot/no_tests, which holds no test"
    And the run has started no daemon
    And nothing is left of the run


*** Keywords ***
A folder with a suite that needs a daemon
    Prepare Run Folder
    Write Suite
    ...    robot/all.robot
    ...    *** Settings ***\nLibrary${SPACE * 4}PoolManagerLibrary\n*** Test Cases ***\nOne\n${SPACE * 4}Daemon Should Run\n

A folder of suites that hold a setup and no test
    VAR    ${settings} =
    ...    *** Settings ***\nLibrary${SPACE * 4}PoolManagerLibrary\nSuite Setup${SPACE * 4}Daemon Should Run\n
    Write Suite    robot/no_tests/__init__.robot    ${settings}
    Write Suite    robot/no_tests/words.robot    ${settings}*** Keywords ***\nA step\n${SPACE * 4}Daemon Should Run\n
