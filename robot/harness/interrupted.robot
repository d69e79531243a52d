*** Settings ***
Documentation    A run that is stopped leaves nothing, though its engine ignores SIGTERM and has a child in a session of its own.
...              Runs that passed or failed: `at_once.robot`, `failure_report.robot`.

Resource         runs.resource
Library          OperatingSystem

Test Template    A run that is stopped by Ctrl-C ${how} leaves nothing

Test Tags        harness    B-HARNESS-009


*** Test Cases ***    HOW
Stopped by Ctrl-C    once
Stopped by one who is in a hurry    twice


*** Keywords ***
A run that is stopped by Ctrl-C ${how} leaves nothing
    Given a run with an engine is at work
    When Ctrl-C is pressed ${how}
    Then it ends with a failure
    And its summary says that it was broken off
    And nothing is left of the run

A run with an engine is at work
    ${folder} =    Prepare Run Folder
    VAR    &{environment} =    READY_FILE=${folder}/../ready
    Start Suite Run    ${CURDIR}/_runs/interrupted.robot    environment=${environment}
    Wait Until Created    ${folder}/../ready    60 s

Ctrl-C is pressed ${how:once|twice}
    Interrupt Suite Run
    Wait Until Keyword Succeeds    30 s    20 ms    Get Suite Run Output    contains    Second signal will force exit
    IF    '${how}' == 'twice'    Interrupt Suite Run

Its summary says that it was broken off
    The Summary Counts    passed=0    failed=1
    ${folder} =    Get Suite Run Results
    ${page} =    Evaluate    pathlib.Path($folder, 'summary.html').read_text()
    Should Contain    ${page}    The run was stopped before its end.

It ends with a failure
    ${run} =    Wait For Suite Run    60 s
    Should Be True    ${run.code} > 0
