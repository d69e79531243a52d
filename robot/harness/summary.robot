*** Settings ***
Documentation    The summary of a run: one page for people and Jenkins, and a text for pull requests. That of failed scenarios:
...              `failure_report.robot`; of a parallel run: `at_once.robot`; of one that was stopped: `interrupted.robot`.

Resource         runs.resource

Test Tags        harness    OC-POOL-3030


*** Test Cases ***
It has each behaviour under its requirements, with its scenarios and their verdicts
    [Tags]    B-HARNESS-005
    Given a folder with a catalogue of behaviours and suites that prove a part of it
    When bdd-runner is run
    Then the summary's rows are
    ...    OC-1 | B-ONE-002 | It is not kept | failed
    ...    OC-1 | B-ONE-001 | It is kept | passed
    ...    OC-1 | B-ONE-001 | It is kept always | passed
    ...    OC-2 | B-ONE-002 | It is not kept | failed
    ...    Other behaviours | B-ONE-003 | It is left out | skipped
    And the summary counts    scenarios=5    passed=3    failed=1    skipped=1    not run=0
    And the text for a pull request has the failure's message and the reason of the skip


*** Keywords ***
A folder with a catalogue of behaviours and suites that prove a part of it
    Prepare Run Folder
    Write Suite    docs/requirements.tsv    id\trequirement\nOC-1\tIt works.\nOC-2\tIt works well.\n
    VAR    ${catalogue} =    SEPARATOR=\n
    ...    id\tchapter\trequirement\tlevel\tbehaviour
    ...    B-ONE-001\tone\tOC-1\tmust\tWhat was promised.
    ...    B-ONE-002\tone\tOC-1,OC-2\tmust\tWhat was promised, too.
    ...    B-ONE-003\tone\t-\tshould\tWhat would be good.
    ...    B-ONE-004\tone\tOC-2\tmust\tWhat nobody looks at.
    Write Suite    docs/behaviours.tsv    ${catalogue}\n
    VAR    ${suite} =    SEPARATOR=\n
    ...    *** Test Cases ***
    ...    It is kept\n${SPACE * 4}\[Tags]${SPACE * 4}B-ONE-001\n${SPACE * 4}No Operation
    ...    It is kept always\n${SPACE * 4}\[Tags]${SPACE * 4}B-ONE-001\n${SPACE * 4}No Operation
    ...    It is not kept\n${SPACE * 4}\[Tags]${SPACE * 4}B-ONE-002\n${SPACE * 4}Fail${SPACE * 4}It was not to be.
    ...    It is left out\n${SPACE * 4}\[Tags]${SPACE * 4}B-ONE-003\n${SPACE * 4}Skip${SPACE * 4}Not on a day like this.
    ...    It is of no behaviour\n${SPACE * 4}No Operation
    Write Suite    robot/one.robot    ${suite}\n

The summary's rows are
    [Arguments]    @{wanted}
    ${run} =    Wait For Suite Run
    ${rows} =    Get Summary Rows    ${run}
    Should Be Equal    ${rows}    ${wanted}

The text for a pull request has the failure's message and the reason of the skip
    ${folder} =    Get Suite Run Results
    ${text} =    Evaluate    pathlib.Path($folder, 'summary.md').read_text()
    Should Match Regexp    ${text}    (?m)^\\*\\*It is not kept\\*\\* .*B-ONE-002$
    Should Contain    ${text}    \n```text\nIt was not to be.\n```\n
    Should Contain    ${text}    - Not on a day like this. (1)
