*** Settings ***
Documentation    A wait that is in vain says why: the pool's last phase, its last error and what happened to it.

Resource         PoolManagerResources/scenario.resource

Test Tags        harness    B-HARNESS-013


*** Test Cases ***
A wait for a state fails at its timeout and says why
    [Setup]    A Pool Whose Engine Has Exited With Code 3
    [Template]    A wait in vain fails after its time, and names phase, error and events
    Wait Until Pool Is Ready    the pool    100 ms
    Wait Until Pool Phase    the pool    ready    100 ms
    Pool Should Show    the pool    phase ready    within=100 ms
    Pool Should Become    the pool    ready    100 ms
    Phases Should Begin With    the pool    preflight, starting, loading, ready    within=100 ms
    Last Error Should Be    the pool    MODEL_NOT_FOUND    within=100 ms
    Wait Until Expression    status['ready']    100 ms
    Wait For Event    the pool    within=100 ms    kind=pool_ready
    Engine Process Count    the pool    should be    1    within=100 ms
    State File Should Exist    handoff    the pool    within=100 ms


*** Keywords ***
A pool whose engine has exited with code 3
    Given a pool whose engine exits with code 3 while loading    restart.initial_ms=60 s
    When the pool is preloaded
    Then the pool is in phase backoff within 10 s

A wait in vain fails after its time, and names phase, error and events
    [Arguments]    ${keyword}    @{arguments}    &{named}
    When ${keyword} is tried    @{arguments}    &{named}
    Then it has failed after its 100 ms and not much later
    And the message shows phase backoff, the error with exit code 3, and the events up to it

${keyword} is tried
    [Arguments]    @{arguments}    &{named}
    ${began} =    Evaluate    time.monotonic()
    TRY
        Run Keyword    ${keyword}    @{arguments}    &{named}
    EXCEPT    AS    ${message}
        VAR    ${FAILURE} =    ${message}    scope=TEST
    ELSE
        Fail    ${keyword} should fail.
    END
    VAR    ${TOOK} =    ${{ time.monotonic() - $began }}    scope=TEST

It has failed after its 100 ms and not much later
    Should Be True    0.1 <= ${TOOK} < 5

The message shows phase backoff, the error with exit code 3, and the events up to it
    Should Match Regexp    ${FAILURE}    (?m)^Pool pool-\\w+: phase backoff, ready False, live False
    Should Match Regexp    ${FAILURE}    (?m)^Last error: ENGINE_EXITED at 20\\S+: .*exit code 3
    Should Match Regexp    ${FAILURE}    (?m)^Latest events \\(
    Should Match Regexp    ${FAILURE}    (?m)^ +#\\d+ [\\d:.]+ phase pool-\\w+/r0 loading → backoff ENGINE_EXITED
