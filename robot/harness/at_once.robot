*** Settings ***
Documentation    Runs side by side share nothing: the runs here wait for each other while their daemons and engines are up.

Resource         runs.resource
Library          OperatingSystem

Test Tags        harness


*** Test Cases ***
Two runs at the same time pass and share nothing
    [Tags]    B-HARNESS-008    B-HARNESS-009
    Given a folder, and a place where two runs can meet
    When two runs of bdd-runner are started in it at the same time
    Then both pass, each in a folder for its results of its own
    And no port, state folder, device folder or results folder was that of both
    And nothing is left of the run

The processes of a parallel run pass and share nothing
    [Tags]    B-HARNESS-008    B-HARNESS-009
    Given a folder, and a place where two runs can meet
    When bdd-runner is run    --parallel    2    ${CURDIR}/_runs/meeting.robot    ${CURDIR}/_runs/meeting_again.robot
    ...    MEETING=${MEETING}
    Then the run ends with exit code 0
    And both tests stand in one report
    And no port, state folder, device folder or results folder was that of both
    And the run has started 2 daemons
    And nothing is left of the run


*** Keywords ***
A folder, and a place where two runs can meet
    ${folder} =    Prepare Run Folder
    VAR    ${MEETING} =    ${folder}/../meeting    scope=TEST
    Create Directory    ${MEETING}

Two runs of bdd-runner are started in it at the same time
    VAR    &{environment} =    MEETING=${MEETING}
    ${first} =    Start Suite Run    ${CURDIR}/_runs/meeting.robot    environment=${environment}
    ${second} =    Start Suite Run    ${CURDIR}/_runs/meeting.robot    environment=${environment}
    VAR    @{RUNS} =    ${first}    ${second}    scope=TEST

Both pass, each in a folder for its results of its own
    ${first} =    The Message Of The Test That Passed In    ${RUNS}[0]
    ${second} =    The Message Of The Test That Passed In    ${RUNS}[1]
    VAR    @{TOLD} =    ${first}    ${second}    scope=TEST

The message of the test that passed in
    [Arguments]    ${run}
    Suite Run Should End With    0    ${run}
    ${results} =    Get Results Of    ${run}
    ${tests} =    Get Suite Run Tests    PASS    ${run}    ${results}
    Length Should Be    ${tests}    1
    RETURN    ${tests[0].message}

Get results of
    [Documentation]    One of the two has ``results/``, the other a folder in it, and says so.
    [Arguments]    ${run}
    ${console} =    Get Suite Run Output    run=${run}
    ${found} =    Evaluate    [line for line in $console.splitlines() if line.startswith('Output:')]
    RETURN    ${{ str(pathlib.Path($found[0].split(None, 1)[1]).parent) }}

Both tests stand in one report
    ${tests} =    Get Suite Run Tests    PASS
    Length Should Be    ${tests}    2
    VAR    @{TOLD} =    ${{ $tests[0].message }}    ${{ $tests[1].message }}    scope=TEST

No port, state folder, device folder or results folder was that of both
    ${first} =    Evaluate    $TOLD[0].split()
    ${second} =    Evaluate    $TOLD[1].split()
    Length Should Be    ${first}    6
    Length Should Be    ${second}    6
    Should Be Empty    ${{ set($first) & set($second) }}
