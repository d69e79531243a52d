*** Settings ***
Documentation    What an operator does on the dashboard: each action asks first, says what it will do, and does it.
...              That it demands the token: `security.robot`. Skipped where there is no Chromium.

Resource         PoolManagerResources/scenario.resource
Resource         PoolManagerResources/dashboard.resource

Suite Setup      Need Browser

Test Tags        dashboard    browser    OC-POOL-3003


*** Test Cases ***
An action that is left alone does nothing
    [Tags]    B-DASH-001
    Given a ready pool
    And a lease is held on the pool
    And the dashboard is open
    And the pool is opened on the dashboard
    When drain is chosen on the dashboard
    Then the dialog asks "Drain" and says "1 active lease may end until the deadline"
    And the page is shown in the report
    When it is left alone
    Then no event of kind drain comes within 200 ms
    And the button drain has the focus again

A drain is asked for, waits for its lease, and is cancelled
    [Tags]    B-DASH-002
    Given a ready pool
    And a lease is held on the pool
    And the dashboard is open
    And the pool is opened on the dashboard
    When drain is chosen on the dashboard
    And the deadline is set to 60 s
    And it is confirmed
    Then the dashboard shows the pool    phase draining, 1 lease left
    And the answer on the dashboard is "drains"
    When undrain is chosen on the dashboard
    And it is confirmed
    Then the dashboard shows the pool    phase ready
    And an event of kind drain comes within 5 s    to=cancelled

A pool is stopped and preloaded again
    [Tags]    B-DASH-002
    Given a ready pool
    And the dashboard is open
    And the pool is opened on the dashboard
    When drain is chosen on the dashboard
    And the deadline is set to 0 s
    And it is confirmed
    Then the dashboard shows the pool    phase stopped
    When preload is chosen on the dashboard
    And it is confirmed
    Then the dashboard shows the pool    phase ready    within=5 s

A pool is reloaded with another model, and an unknown one is refused with its reason
    [Tags]    B-DASH-002
    Given a ready pool
    And a model file other.gguf
    And the dashboard is open
    And the pool is opened on the dashboard
    When reload is chosen on the dashboard
    And the model is set to other.gguf
    And it is confirmed
    Then the dashboard shows the pool    pool_id other.gguf    phase ready    within=5 s
    When reload is chosen on the dashboard
    And the model is set to ../../etc/passwd
    And it is confirmed
    Then the dialog shows the refusal INVALID_REQUEST

An open circuit is reset
    [Tags]    B-DASH-002
    Given a pool whose engine exits with code 3 while loading    breaker.failures=1    breaker.open_ms=60 s
    And the pool is preloaded
    And the pool is in phase circuit_open within 10 s
    And the dashboard is open
    And the pool is opened on the dashboard
    When reset is chosen on the dashboard
    And it is confirmed
    Then an event of kind breaker comes within 5 s    to=closed
    And the answer on the dashboard is "closed"


*** Keywords ***
The dialog asks "${question}" and says "${text}"
    Element Should Contain    id:ask-title    ${question}
    Element Should Contain    css:dialog[open]    ${text}

The button ${action} has the focus again
    ${focused} =    Execute Javascript    return document.activeElement.dataset.action
    Should Be Equal    ${focused}    ${action}

The deadline is set to ${seconds:\d+} s
    Input Text    id:ask-deadline    ${seconds}

The model is set to ${model}
    Input Text    id:ask-model    ${model}

The answer on the dashboard is "${text}"
    Wait Until Element Contains    css:.said    ${text}

The dialog shows the refusal ${code}
    Wait Until Element Contains    css:dialog[open] .problem    ${code}
