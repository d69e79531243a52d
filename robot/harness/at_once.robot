*** Settings ***
Documentation    Runs side by side share nothing: the runs here wait for each other while their daemons and engines are up.

Resource         runs.resource
Library          OperatingSystem

Test Tags        harness


*** Test Cases ***
Two runs at the same time, one of them by pabot in two processes, pass and share nothing
    [Tags]    B-HARNESS-008    B-HARNESS-009
    Given a folder, and a place where three processes can meet
    When a run and a parallel run of bdd-runner are started in it at the same time
    Then both pass, each with its tests in a report and a summary of its own
    And the parallel run has started 2 daemons
    And no port, state folder, device folder or results folder was that of two
    And nothing is left of both runs


*** Keywords ***
A folder, and a place where three processes can meet
    ${folder} =    Prepare Run Folder
    VAR    ${MEETING} =    ${folder}/../meeting    scope=TEST
    Create Directory    ${MEETING}

A run and a parallel run of bdd-runner are started in it at the same time
    VAR    &{environment} =    MEETING=${MEETING}
    ${single} =    Start Suite Run    ${CURDIR}/_runs/meeting.robot    environment=${environment}
    ${parallel} =    Start Suite Run
    ...    --parallel
    ...    2
    ...    ${CURDIR}/_runs/meeting.robot
    ...    ${CURDIR}/_runs/meeting_again.robot
    ...    environment=${environment}
    VAR    ${SINGLE} =    ${single}    scope=TEST
    VAR    ${PARALLEL} =    ${parallel}    scope=TEST

Both pass, each with its tests in a report and a summary of its own
    Suite Run Should End With    0    ${SINGLE}
    Suite Run Should End With    0    ${PARALLEL}
    ${first} =    What The Tests Of A Run Have Told    ${SINGLE}    1
    ${others} =    What The Tests Of A Run Have Told    ${PARALLEL}    2
    VAR    @{TOLD} =    @{first}    @{others}    scope=TEST

What the tests of a run have told
    [Arguments]    ${run}    ${count}
    ${tests} =    Get Suite Run Tests    PASS    ${run}
    Length Should Be    ${tests}    ${count}
    ${counts} =    Get Summary Counts    ${run}
    Should Be Equal As Integers    ${counts}[passed]    ${count}
    RETURN    ${{ [test.message.split() for test in $tests] }}

The parallel run has started ${count} daemons
    Get Suite Run Daemons    ==    ${count}    ${PARALLEL}

No port, state folder, device folder or results folder was that of two
    ${all} =    Evaluate    sum($TOLD, [])
    Length Should Be    ${all}    18
    Length Should Be    ${{ set($all) }}    18    Some were told twice: ${all}

Nothing is left of both runs
    Suite Run Should Leave Nothing    ${SINGLE}
    Suite Run Should Leave Nothing    ${PARALLEL}
