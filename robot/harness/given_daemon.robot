*** Settings ***
Documentation    The suites drive a daemon that runs already, and skip what they cannot do to it.

Resource         PoolManagerResources/scenario.resource
Resource         runs.resource

Test Tags        harness


*** Test Cases ***
A daemon that is given is driven, and what needs more than its API is skipped
    [Tags]    B-HARNESS-007
    Given a pool
    When bdd-runner is run on the scenario's daemon, told by --variable URL, with a small suite and some of the chapter api
    Then the run ends with exit code 0
    And the pool becomes ready within 60 s
    And the small suite's tests of the API have passed, over HTTP and gRPC
    And its others are skipped, for a daemon that runs elsewhere has no pools, devices and daemons of their own
    And each test of that chapter has passed or is skipped with such a reason
    And the run has started no daemon
    And nothing is left of the run
    And the daemon still serves


*** Keywords ***
Bdd-runner is run on the scenario's daemon, told by --variable URL, with a small suite and some of the chapter api
    ${url} =    Get Daemon    url
    ${grpc} =    Get Daemon    grpc
    ${pool} =    Get Pool Id
    Prepare Run Folder
    Begin Act    the run
    Run Suites    --variable    URL:${url}    --variable    GRPC:${grpc}    --variable    POOL:${pool}
    ...    ${CURDIR}/_runs/given_daemon.robot    ${CURDIR}/../api/errors.robot    ${CURDIR}/../api/health.robot

The small suite's tests of the API have passed, over HTTP and gRPC
    Test Should Have    It drives the daemon that was given    PASS
    Test Should Have    It calls it over gRPC, too    PASS

Its others are skipped, for a daemon that runs elsewhere has no ${pools}, ${devices} and ${daemons} of their own
    Test Should Have
    ...    A test that needs a pool of its own
    ...    SKIP
    ...    Needs pools of its own, which a daemon that runs elsewhere
    Test Should Have
    ...    A test that needs a GPU of its own
    ...    SKIP
    ...    Needs simulated devices, which a daemon that runs elsewhere
    Test Should Have
    ...    A test that needs a daemon of its own
    ...    SKIP
    ...    Needs a daemon of its own, which a daemon that runs elsewhere

Test should have
    [Arguments]    ${name}    ${status}    ${message}=${EMPTY}
    ${tests} =    Get Suite Run Tests
    ${tests} =    Evaluate    {test.name: test for test in $tests}
    VAR    ${test} =    ${tests}[${name}]
    Should Be Equal    ${test.status}    ${status}
    Should Contain    ${test.message}    ${message}

Each test of that chapter has passed or is skipped with such a reason
    ${tests} =    Get Suite Run Tests
    ${chapter} =    Evaluate    [test for test in $tests if 'api' in test.tags]
    Should Be True    {'PASS', 'SKIP'} == {test.status for test in $chapter}
    FOR    ${test}    IN    @{chapter}
        IF    $test.status == 'PASS'    CONTINUE
        Should Match
        ...    ${test.message}
        ...    *Needs *, which a daemon that runs elsewhere (http://*) does not offer*
        ...    ${test.name}
    END
