*** Settings ***
Documentation    What a failed scenario leaves for the one who has to find out why: the message, the report in log.html, the logs.
...
...              The scenarios of `_must_fail` are run once for all tests here; each says in its documentation how it must fail.

Resource         runs.resource

Suite Setup      Run The Scenarios That Must Fail

Test Tags        harness


*** Variables ***
# Jenkins' own for what builds have left (hudson.model.DirectoryBrowserSupport.CSP).
${JENKINS_POLICY}    sandbox allow-same-origin; default-src 'none'; img-src 'self'; style-src 'self';


*** Test Cases ***
Each failure says what was expected, what was seen, for how long, and why
    [Tags]    B-HARNESS-013
    Then each failure's message is the documented one
    And the console shows each failure's message

The exit code is the number of failed tests
    [Tags]    B-HARNESS-006
    Then the exit code is the number of failed tests

The folder for the results is made, with all four files in it
    [Tags]    B-HARNESS-005
    Then the folder was made, and holds output.xml, log.html, report.html, xunit.xml, summary.html and summary.md
    And all four tell of the same tests

The report holds the last lines of the engine and of the daemon, and the events
    [Tags]    B-HARNESS-010    OC-POOL-3030
    Then the report of "A state that does not come" shows the engine's line "these are my last words"
    And it shows the daemon's record of the engine's exit code 3
    And it shows the event of phase backoff
    And it shows ENGINE_EXITED as the pool's last error

The report shows the phases as a picture
    [Tags]    B-HARNESS-010    OC-POOL-3030
    Then the picture of "A state that does not come" shows preflight, starting, loading, backoff
    And the picture of "An event that comes too late" shows preflight, starting, loading, ready

The report links to whole logs beside it
    [Tags]    B-HARNESS-010    OC-POOL-3030
    Then the report of "A state that does not come" links to the logs of engine and daemon, the events and the config

The summary shows each failure with its message, its picture and what was kept
    [Tags]    B-HARNESS-005    B-HARNESS-010
    Then the summary counts the same tests as the report
    And the summary shows "A state that does not come" with its message, its picture and its logs

The summary is shown whole under Jenkins' own content policy
    [Tags]    B-HARNESS-005    browser
    [Setup]    Need Browser
    When the results are served with Jenkins' policy and the summary is opened in a browser
    Then it is shown with its styles and pictures, and the browser has refused nothing
    And it fits a window of 1280 and of 390, and is accessible

A scenario that fails at its end only has a report, too
    [Tags]    B-HARNESS-010    OC-POOL-3030
    [Template]    The report of "${test}" has events and the daemon's last lines
    A refusal that no step looks at
    A process that is left behind
    A fault in the daemon's log
    The shared daemon dies

After failed scenarios nothing is left
    [Tags]    B-HARNESS-009
    Then nothing is left of the run


*** Keywords ***
The summary counts the same tests as the report
    ${tests} =    Get Suite Run Tests
    ${failed} =    Get Suite Run Tests    FAIL
    The Summary Counts    scenarios=${{ len($tests) }}    failed=${{ len($failed) }}

The summary shows "${test}" with its message, its picture and its logs
    ${failed} =    Get Suite Run Tests    FAIL
    ${message} =    Evaluate    {test.name: test.message for test in $failed}[$test]
    ${folder} =    Get Suite Run Results
    ${page} =    Evaluate    html.unescape(pathlib.Path($folder, 'summary.html').read_text())    modules=html, pathlib
    VAR    ${part} =    ${{ $page.split($test, 1)[1].split('</article>')[0] }}
    Should Contain    ${part}    ${message}
    Part Should Show What Was Kept    ${part}    ${folder}    failed/pool-managerd.Scenarios.${test.replace(' ', '-')}

Part should show what was kept
    [Arguments]    ${part}    ${folder}    ${kept}
    FOR    ${name}    IN    timeline-pool.svg    daemon.log    events.txt    pools.toml
        Should Contain    ${part}    ="${kept}/${name}"
        Should Be True    ${{ pathlib.Path($folder, $kept, $name).stat().st_size > 100 }}    ${name}
    END
    Should Match Regexp    ${part}    <img src="${kept}/timeline-pool.svg"
    Should Match Regexp    ${part}    href="${kept}/engine-pool-\\w+-r0.log"

The results are served with Jenkins' policy and the summary is opened in a browser
    ${folder} =    Get Suite Run Results
    ${url} =    Serve Folder    ${folder}    ${JENKINS_POLICY}
    Shape Window
    Go To    ${url}/summary.html

It is shown with its styles and pictures, and the browser has refused nothing
    Page Should Have No Faults
    Page Should Load Nothing From Elsewhere
    ${failed} =    Get Suite Run Tests    FAIL
    ${shown} =    Get Element Count    css:.failure
    Should Be Equal As Integers    ${shown}    ${{ len($failed) }}
    ${edge} =    Execute Javascript    return getComputedStyle(document.querySelector('.failure')).borderLeftWidth
    Should Be Equal    ${edge}    4px
    ${widths} =    Execute Javascript    return [...document.images].map((one) => one.naturalWidth)
    Should Be True    len(${widths}) >= 3 and all(${widths})    The pictures' widths: ${widths}

It fits a window of 1280 and of 390, and is accessible
    [Documentation]    What judges the page needs scripts, and is let in here.
    ${folder} =    Get Suite Run Results
    ${url} =    Serve Folder    ${folder}    ${JENKINS_POLICY.replace('sandbox allow-same-origin;', '')}
    Go To    ${url}/summary.html
    Page Should Be Accessible
    FOR    ${width}    IN    1280    390
        Shape Window    ${width}
        Page Should Fit Its Window
        Capture Page Screenshot    EMBED
    END

Run The Scenarios That Must Fail
    An Empty Folder
    Run Suites    ${CURDIR}/_must_fail

Each failure's message is the documented one
    ${count} =    Failures Should Be As Documented
    Should Be True    ${count} >= 10

The console shows each failure's message
    ${console} =    Get Suite Run Output
    ${failed} =    Get Suite Run Tests    FAIL
    FOR    ${test}    IN    @{failed}
        VAR    ${first} =    ${{ $test.message.splitlines()[0] }}
        Should Contain    ${console}    ${first}
    END

The exit code is the number of failed tests
    ${failed} =    Get Suite Run Tests    FAIL
    Suite Run Should End With    ${{ len($failed) }}

The folder was made, and holds ${files}
    ${folder} =    Get Suite Run Results
    ${names} =    Evaluate    re.split(r', | and ', $files)
    FOR    ${name}    IN    @{names}
        Should Be True    ${{ pathlib.Path($folder, $name).stat().st_size > 1000 }}    ${name}
    END

All four tell of the same tests
    ${tests} =    Get Suite Run Tests
    ${failed} =    Get Suite Run Tests    FAIL
    ${counts} =    Get JUnit Counts
    Should Be Equal    ${counts}[tests]    ${{ len($tests) }}
    Should Be Equal    ${counts}[failures]    ${{ len($failed) }}
    ${log} =    Get Suite Run Page    log.html
    ${report} =    Get Suite Run Page    report.html
    FOR    ${test}    IN    @{tests}
        Should Contain    ${log}    ${test.name}
        Should Contain    ${report}    ${test.name}
    END

The report of "${test}" shows the engine's line "${line}"
    ${report} =    Get Failure Report    ${test}
    VAR    ${SHOWN} =    ${report}    scope=TEST
    ${lines} =    Report Section    ${report}    Last lines of engine-pool-
    Should Contain    ${lines}    ${line}

It shows the daemon's record of the engine's exit code ${code}
    ${lines} =    Report Section    ${SHOWN}    The daemon's last lines
    Should Contain    ${lines}    "exit_code": ${code}

It shows the event of phase ${phase}
    ${lines} =    Report Section    ${SHOWN}    Events
    Should Match Regexp    ${lines}    (?m)^#\\d+ [\\d:.]+ phase pool-\\w+/r0 loading → ${phase} ENGINE_EXITED

It shows ${code} as the pool's last error
    Should Match Regexp    ${SHOWN}    Phase <b>backoff</b>, ready False. Last error: <b>${code}</b> .*exit code 3

The picture of "${test}" shows ${phases}
    ${report} =    Get Failure Report    ${test}
    ${bars} =    Report Timeline    ${report}
    ${shown} =    Evaluate    ', '.join(bar.split()[0] for bar in $bars)
    Should Be Equal    ${shown}    ${phases}

The report of "${test}" links to the logs of engine and daemon, the events and the config
    ${report} =    Get Failure Report    ${test}
    ${files} =    Report Links    ${report}
    ${engine} =    Evaluate    [text for name, text in $files.items() if name.startswith('engine-pool-')][0]
    Should Contain    ${engine}    these are my last words
    Should Contain    ${files}[daemon.log]    "code": "ENGINE_EXITED"
    Should Contain    ${files}[events.txt]    loading → backoff ENGINE_EXITED
    Should Contain    ${files}[pools.toml]    [[pool]]

The report of "${test}" has events and the daemon's last lines
    ${report} =    Get Failure Report    ${test}
    Report Section    ${report}    Events
    ${lines} =    Report Section    ${report}    The daemon's last lines
    Should Not Be Empty    ${lines}
