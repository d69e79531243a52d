*** Settings ***
Documentation    On a machine without an NVIDIA GPU the tests of a real one are skipped, and all others pass.

Resource         runs.resource
Library          OperatingSystem

Test Tags        harness    B-HARNESS-014


*** Test Cases ***
Without a GPU the GPU tests are skipped with their reason and the others pass
    Given a machine without an NVIDIA driver
    When bdd-runner is run there on all tests of a real GPU, and on a suite of simulated ones
    Then the run ends with exit code 0
    And each test of a real GPU is skipped, for there is none
    And each other test has passed


*** Keywords ***
A machine without an NVIDIA driver
    [Documentation]    Where there is one, its library is hidden behind a file that is none.
    ${folder} =    Prepare Run Folder
    VAR    ${HIDDEN} =    ${folder}/../hidden    scope=TEST
    Create File    ${HIDDEN}/libnvidia-ml.so.1    This is no library.

Bdd-runner is run there on all tests of a real GPU, and on a suite of simulated ones
    VAR    &{environment} =    LD_LIBRARY_PATH=${HIDDEN}
    VAR    ${folder} =    ${CURDIR}/..
    VAR    ${tagged} =    (?m)^(Test Tags|\\.{3}|\\s+\\[Tags\\]).*\\sgpu(\\s|$)
    ${suites} =    Evaluate
    ...    list(filter(lambda one, tagged=$tagged: re.search(tagged, one.read_text()), pathlib.Path($folder).glob('*/*.robot')))
    ...    modules=re
    Run Suites    --include    gpu    --include    B-PREFLIGHT-026    @{suites}    ${CURDIR}/../preflight/simulated_devices.robot
    ...    environment=${environment}

Each test of a real GPU is skipped, for there is none
    ${tests} =    Get Suite Run Tests
    ${gpu} =    Evaluate    [test for test in $tests if 'gpu' in test.tags]
    Should Not Be Empty    ${gpu}
    FOR    ${test}    IN    @{gpu}
        Should Be Equal    ${test.status}    SKIP    ${test.name}: ${test.message}
        Should Contain    ${test.message}    There is no real NVIDIA GPU here    ${test.name}
    END

Each other test has passed
    ${tests} =    Get Suite Run Tests
    ${others} =    Evaluate    [test for test in $tests if 'gpu' not in test.tags]
    Should Not Be Empty    ${others}
    FOR    ${test}    IN    @{others}
        Should Be Equal    ${test.status}    PASS    ${test.name}: ${test.message}
    END
