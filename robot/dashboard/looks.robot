*** Settings ***
Documentation    The dashboard can be used on a telephone, in the dark, by keyboard and by ear. Skipped where there is no Chromium.

Resource         PoolManagerResources/scenario.resource
Resource         PoolManagerResources/dashboard.resource

Suite Setup      Need Browser

Test Tags        dashboard    browser    OC-POOL-3003


*** Test Cases ***
It needs no scrolling sideways, and is accessible, as a list, with details and with a question
    [Tags]    B-DASH-001
    [Setup]    Pools that run, fail and are stopped
    [Template]    In a window of ${width} x ${height} it fits and is accessible
    1280    900
    390     844

Its colours have enough contrast in the dark, too
    [Tags]    B-DASH-001
    Given pools that run, fail and are stopped
    And the dashboard is open
    And pool broken is opened on the dashboard
    When the colours are dark
    Then the contrasts are high enough
    And the page is shown in the report
    When reload is chosen on the dashboard
    Then the contrasts are high enough

It is used by keyboard alone
    [Tags]    B-DASH-001
    Given a ready pool
    And the dashboard is open
    When the pool is reached and opened by the keys alone
    And drain is reached and chosen by the keys alone
    Then the dialog has the focus, and keeps it
    When the escape key is pressed
    Then no dialog is seen
    And the focus is on the button drain again
    And no event of kind drain comes within 200 ms

A screen reader is told of a pool that becomes ready or unready
    [Tags]    B-DASH-002
    Given a pool    restart.initial_ms=60 s
    And the dashboard is open
    When the pool is preloaded
    Then the dashboard tells a screen reader that the pool is ready
    When the engine exits with code 3
    Then the dashboard tells a screen reader that the pool is not ready: ENGINE_EXITED

Simulated devices are called simulated
    [Tags]    B-PREFLIGHT-019
    When the dashboard is open
    Then the dashboard's devices-title says "simulated"

Without pools it says so
    [Tags]    B-DASH-001
    Given a daemon of its own    gpus=2
    When the dashboard is open
    Then the dashboard's no-pools says "No pool is configured."
    And the page is shown in the report


*** Keywords ***
In a window of ${width} x ${height} it fits and is accessible
    Given the dashboard is open in a window of ${width} x ${height}
    Then it fits, is accessible and is shown in the report
    When pool broken is opened on the dashboard
    And the dashboard shows pool broken    replicas backoff
    And reload is chosen on the dashboard
    Then it fits, is accessible and is shown in the report

Pools that run, fail and are stopped
    Define Pool    resting
    Define Pool    chat    replicas=2
    Define Pool    broken    restart.initial_ms=60 s    simulated.exit_code=3
    Preload Pool    chat    wait=10 s
    Acquire Lease    chat    holder=a caller
    Answer Should Be    accepted
    Preload Pool    broken
    Wait Until Pool Phase    broken    backoff    10 s

The colours are dark
    Shape Window    dark=True

The contrasts are high enough
    Page Should Be Accessible    color-contrast

It fits, is accessible and is shown in the report
    Page Should Fit Its Window
    Page Should Be Accessible
    Page Should Have No Faults
    Capture Page Screenshot    EMBED

The pool is reached and opened by the keys alone
    ${id} =    Get Pool Id
    Focus Should Come By Tab To    pool-${id}-name
    Press Keys    None    RETURN
    Wait Until Element Is Visible    id:pool-${id}-details

Drain is reached and chosen by the keys alone
    Focus Should Come By Tab To    drain
    Press Keys    None    SPACE
    Wait Until Element Is Visible    css:dialog[open] form

Focus should come by tab to
    [Documentation]    An element by its id or its action.
    [Arguments]    ${name}
    WHILE    True    limit=60    on_limit_message=The key Tab never came to ${name}.
        Press Keys    None    TAB
        ${focused} =    Execute Javascript    return [document.activeElement.id, document.activeElement.dataset.action]
        IF    $name in $focused    RETURN
    END

The dialog has the focus, and keeps it
    WHILE    True    limit=6    on_limit=pass
        ${inside} =    Execute Javascript
        ...    return document.activeElement === document.body || document.querySelector('dialog').contains(document.activeElement)
        Should Be True    ${inside}
        Press Keys    None    TAB
    END

The escape key is pressed
    Press Keys    None    ESCAPE

No dialog is seen
    Wait Until Element Is Not Visible    css:dialog form

The focus is on the button ${action} again
    ${focused} =    Execute Javascript    return document.activeElement.dataset.action
    Should Be Equal    ${focused}    ${action}

The dashboard tells a screen reader that the pool ${what}
    ${id} =    Get Pool Id
    Wait Until Element Contains    id:announcer    ${id} ${what}.    5 s
