*** Settings ***
Documentation    What a run of `bdd-runner` ends with: its exit code and its files. Failed runs are those of `failure_report.robot`.

Resource         runs.resource

Test Tags        harness


*** Test Cases ***
The exit code of a run that passed is 0, and its files are there
    [Tags]    B-HARNESS-005    B-HARNESS-006
    Given a folder with the suites    robot/one.robot    robot/two.robot
    When bdd-runner is run
    Then the run ends with exit code 0
    And the output, the log, the report and the JUnit file tell of 2 tests

The exit code is 250 for more failed tests than that
    [Tags]    B-HARNESS-006
    Given a folder with a suite of 260 tests that fail
    When bdd-runner is run
    Then the run ends with exit code 250
    And 260 tests have failed


*** Keywords ***
The output, the log, the report and the JUnit file tell of ${count:\d+} tests
    ${tests} =    Get Suite Run Tests    PASS
    Length Should Be    ${tests}    ${count}
    ${counts} =    Get JUnit Counts
    Should Be Equal    ${counts}    ${{ {'tests': int($count), 'failures': 0, 'errors': 0, 'skipped': 0} }}
    FOR    ${page}    IN    log.html    report.html
        ${text} =    Get Suite Run Page    ${page}
        Should Contain    ${text}    robot/two.robot
    END

A folder with a suite of ${count} tests that fail
    Prepare Run Folder
    ${tests} =    Evaluate    '\\n'.join(f'Test {number}\\n${SPACE * 4}Fail' for number in range(${count}))
    Write Suite    robot/all.robot    *** Test Cases ***\n${tests}\n

${count} tests have failed
    ${failed} =    Get Suite Run Tests    FAIL
    Length Should Be    ${failed}    ${count}
