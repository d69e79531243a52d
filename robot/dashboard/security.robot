*** Settings ***
Documentation    The dashboard trusts nothing that it shows, loads nothing from elsewhere, and does nothing without the token.
...              Skipped where there is no Chromium.

Resource         PoolManagerResources/scenario.resource
Resource         PoolManagerResources/dashboard.resource

Suite Setup      Need Browser

Test Tags        dashboard    browser    security    OC-POOL-3003


*** Variables ***
${MARKUP}    <img src=x onerror="window.hacked=1"><script>window.hacked=1</script>
${WRITER}    a-token-that-may-do-all
${READER}    a-token-that-may-only-read


*** Test Cases ***
Markup in errors, log lines, holders, models and names is shown as text
    [Tags]    B-DASH-003
    Given a GPU whose name is markup
    And a pool named broken whose model's name is markup
    And pool broken is preloaded
    And pool broken reaches phase failed within 5 s
    And a ready pool named chat
    And a lease is held on pool chat by a holder whose name is markup
    And the engine logs markup
    When the dashboard is open
    And the dashboard is searched for "${MARKUP}"
    Then the dashboard's no-pools says "No pool matches “${MARKUP}”"
    When the dashboard is searched for "${EMPTY}"
    And pool chat is opened on the dashboard
    Then the dashboard shows pool chat    lease_list ${MARKUP}    log ${MARKUP}
    And the dashboard shows pool broken    last_error ${MARKUP.replace('/', '')}    pool_id ${MARKUP.replace('/', '')}
    And the page shows the markup in the GPU's name as text
    And no markup has become a part of the page, and no script has run

Markup in any field of a status, the pool's id included, is shown as text
    [Documentation]    The config allows no such id; the page does not rely on that.
    [Tags]    B-DASH-003
    Given the dashboard is open
    When its own script is given a pool and an event that have markup in every field
    Then the page shows the markup of the pool's id, phase, error and event as text
    And no markup has become a part of the page, and no script has run

Nothing is loaded from another host, and the page's policy would not let it
    [Tags]    B-DASH-003
    Given a ready pool
    When the dashboard is open
    And the pool is opened on the dashboard
    Then the page has been loaded from the daemon alone
    And the browser refuses what comes from elsewhere, and text that would become markup

The token is asked for, kept in the tab only, and sent with every request
    [Tags]    B-DASH-003
    Given a daemon of its own with a token and one that only reads
    And a ready pool
    When the dashboard is opened
    Then the dashboard's token-reason says "This daemon asks for a token."
    And no pool is seen
    When the token "wrong" is given to the dashboard
    Then the dashboard's token-reason says "The daemon refused this token."
    When the token "${READER}" is given to the dashboard
    Then the dashboard shows the pool    phase ready    within=5 s
    And the token is kept in the tab's session storage and nowhere else
    When the page is asked to forget the token
    Then the dashboard's token-reason says "This daemon asks for a token."

What changes something demands the full token
    [Tags]    B-DASH-003
    Given a daemon of its own with a token and one that only reads
    And a ready pool
    And the dashboard is open with the token "${READER}"
    And the pool is opened on the dashboard
    When drain is chosen on the dashboard
    And it is confirmed
    Then the dashboard refuses with FORBIDDEN and asks for the full token
    And the pool is ready
    When the full token is given to the dialog
    And it is confirmed
    Then the pool reaches phase stopped within 5 s
    And the dashboard shows the pool    phase stopped


*** Keywords ***
A GPU whose name is markup
    Define Gpu    odd    product=${MARKUP}

A pool named ${name} whose model's name is markup
    [Documentation]    A slash would make folders of it.
    Define Pool    ${name}    model=models/${MARKUP.replace('/', '')}

A lease is held on ${pool} by a holder whose name is markup
    Acquire Lease    ${pool}    holder=${MARKUP}
    Answer Should Be    accepted

The engine logs markup
    Set Engine Fault    the engine    stdout=${{ [$MARKUP] }}

The page shows the markup in the GPU's name as text
    ${uuid} =    Get Gpu Uuid    odd
    Element Should Contain    css:[data-device="${uuid}"]    ${MARKUP}

No markup has become a part of the page, and no script has run
    [Documentation]    The page has one picture of its own, the logo, and one script.
    ${hacked} =    Execute Javascript    return window.hacked ?? null
    Should Be Equal    ${hacked}    ${None}
    ${images} =    Get Element Count    css:img
    ${scripts} =    Get Element Count    css:script
    Should Be Equal    ${images} ${scripts}    1 1
    Page Should Have No Faults

Its own script is given a pool and an event that have markup in every field
    Hand Markup To Dashboard    ${MARKUP}

The page shows the markup of the pool's id, phase, error and event as text
    FOR    ${part}    IN    odd-pool h3    odd-pool [data-field=phase]    odd-pool [data-field=last_error]    odd-event
        Element Should Contain    css:#${part}    ${MARKUP}
    END

The page has been loaded from the daemon alone
    ${loaded} =    Page Should Load Nothing From Elsewhere
    Should Contain    ${{ ' '.join($loaded) }}    /assets/dashboard.js
    Should Contain    ${{ ' '.join($loaded) }}    /v2/pools
    Page Should Have No Faults

The browser refuses what comes from elsewhere, and text that would become markup
    Page Should Refuse What Is Forbidden

A daemon of its own with a token and one that only reads
    Prepare Daemon    gpus=1    token=${WRITER}    server.token_file=token    server.readonly_token_file=reader
    Write File    token    ${WRITER}
    Write File    reader    ${READER}

The dashboard is opened
    Shape Window
    Open Dashboard    live=False

No pool is seen
    Element Should Not Be Visible    id:content
    ${pools} =    Get Dashboard Pools
    Should Be Empty    ${pools}

The token "${token}" is given to the dashboard
    Give Token To Dashboard    ${token}

The token is kept in the tab's session storage and nowhere else
    ${kept} =    Execute Javascript
    ...    return [Object.values(sessionStorage).join(), localStorage.length, document.cookie, location.href.includes("token")]
    Should Be Equal    ${kept}    ${{ [$READER, 0, '', False] }}

The page is asked to forget the token
    Click Button    id:forget-token

The dashboard refuses with ${code} and asks for the full token
    Wait Until Element Contains    css:dialog .problem    ${code}
    Wait Until Element Is Visible    id:ask-token

The full token is given to the dialog
    Input Password    id:ask-token    ${WRITER}
