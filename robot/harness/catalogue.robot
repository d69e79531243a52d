*** Settings ***
Documentation    The catalogue of behaviours and the tags of the suites say the same.

Library          Process

Test Tags        harness


*** Variables ***
${TOP}    ${CURDIR}/../..


*** Test Cases ***
Every behaviour has a test, and every tag a behaviour
    [Documentation]    The chapters are those that have suites: they are folders of ``robot/``.
    [Tags]    B-HARNESS-011
    When behaviours and tags are compared
    Then no behaviour of these chapters is without a test
    And no tag is without a behaviour


*** Keywords ***
Chapters that have suites
    [Documentation]    A folder may hold scenarios of several chapters, and have no chapter of its own.
    ${folders} =    Evaluate
    ...    {p.name for p in pathlib.Path(r'${CURDIR}').parent.iterdir() if any(p.rglob('*.robot'))}
    ...    modules=pathlib
    ${rows} =    Evaluate
    ...    pathlib.Path(r'${TOP}', 'docs', 'behaviours.tsv').read_text().splitlines()
    ...    modules=pathlib
    RETURN    ${{ ','.join(sorted($folders & {row.split('\t')[1] for row in $rows})) }}

Behaviours and tags are compared
    ${chapters} =    Chapters That Have Suites
    ${run} =    Run Process
    ...    ${{ sys.executable }}
    ...    ${TOP}/scripts/behaviour_coverage.py
    ...    --strict
    ...    --chapters
    ...    ${chapters}
    VAR    ${REPORT} =    ${run}    scope=TEST

No behaviour of these chapters is without a test
    Should Contain
    ...    ${REPORT.stdout}
    ...    behaviours have a scenario; 0 `must` have none
    ...    ${REPORT.stdout}${REPORT.stderr}
    ...    values=False
    Should Not Contain    ${REPORT.stdout}    without a scenario    ${REPORT.stdout}    values=False

No tag is without a behaviour
    Should Not Contain    ${REPORT.stdout}    tags without a behaviour    ${REPORT.stdout}    values=False
    Should Be Equal As Integers    ${REPORT.rc}    0    ${REPORT.stdout}${REPORT.stderr}    values=False
