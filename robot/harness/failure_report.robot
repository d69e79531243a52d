*** Settings ***
Documentation    What a failed scenario leaves for the one who has to find out why: the message, the report in log.html, the logs.
...
...              The scenarios of `_must_fail` are run once for all tests here; each says in its documentation how it must fail.

Resource         runs.resource

Suite Setup      Run The Scenarios That Must Fail

Test Tags        harness


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
    Then the folder was made, and holds output.xml, log.html, report.html and xunit.xml
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
