*** Settings ***
Documentation    What the dashboard shows of each pool, as a browser shows it. Skipped where there is no Chromium.

Resource         PoolManagerResources/scenario.resource
Resource         PoolManagerResources/dashboard.resource

Suite Setup      Need Browser

Test Tags        dashboard    browser    OC-POOL-3003    OC-POOL-3030


*** Test Cases ***
Every pool is listed with phase, readiness, leases, devices and last error
    [Tags]    B-DASH-001
    Given a GPU named big with 24 GiB
    And a pool named chat that needs 6 GiB on GPU big
    And pool chat has been preloaded
    And 3 leases are held on pool chat
    And a pool named slow whose engine never becomes ready
    And pool slow is preloaded
    And a pool named broken whose engine exits with code 3 while loading    restart.initial_ms=60 s
    And pool broken is preloaded
    And pool broken is in phase backoff within 10 s
    And a pool named resting
    When the dashboard is open
    Then the dashboard shows pool chat    phase ready    ready yes    leases 3 of 4    leases 1 free    devices 6 of 6 GiB
    And the dashboard names the GPU of pool chat
    And the dashboard shows pool chat    last_error ~^$    timeline ready
    And the dashboard shows pool slow    phase loading    ready no    last_error ~^$
    And the dashboard shows pool broken    phase backoff    ready no    leases 0 of 0    phase next start in
    And the dashboard shows the last error of pool broken with its hint
    And the dashboard shows pool resting    phase stopped    ready no    last_error ~^$
    And every state has a shape beside its word
    And the page is shown in the report

An open circuit, a drain and a lost device are shown in words
    [Tags]    B-DASH-001
    Given a ready pool named chat
    And a lease is held on pool chat
    And a pool named broken whose engine exits with code 3 while loading    breaker.failures=1    breaker.open_ms=60 s
    And pool broken is preloaded
    And pool broken is in phase circuit_open within 10 s
    And a GPU named gone with 8 GiB
    When pool chat is drained    deadline=60 s
    And GPU gone is lost
    And the dashboard is open
    Then the dashboard shows pool broken    phase circuit open    phase breaker open (general), trial in    ready no
    And the dashboard shows pool chat    phase draining, 1 lease left
    And the dashboard shows GPU gone as lost

The details have replicas, leases, the last error with its hint, the last hour and the log
    [Tags]    B-DASH-001
    Given a ready pool    replicas=2
    And a caller asks for a lease on the pool    holder=night shift
    And it is accepted
    And the engine logs "a line from before"
    When the dashboard is open
    And the pool is opened on the dashboard
    Then the dashboard shows the pool    replicas ~r0 ready .* r1 ready    lease_list night shift    last_error_details None.
    And the dashboard shows the pool    log a line from before
    And the last hour is drawn with a row per replica
    When the engine logs "a line from now"
    Then the dashboard shows the pool    log a line from now
    When the engine exits with code 3
    Then the dashboard shows the pool    last_error_details ENGINE_EXITED    last_error_details Hint:
    ...    last_error_details restart in
    And the dashboard shows the pool    replicas ENGINE_EXITED
    And the page is shown in the report

An address that names a pool leads to its details
    [Tags]    B-DASH-001
    Given a ready pool named chat
    ${id} =    Get Pool Id    pool chat
    When the dashboard is open at "#${id}"
    Then the dashboard shows pool chat    last_error_details None.


*** Keywords ***
The dashboard names the GPU of pool ${pool}
    ${uuid} =    Get Pool Field    ${pool}    replicas.0.devices.0
    ${devices} =    Get Devices
    ${index} =    Evaluate    {device['uuid']: device['index'] for device in $devices}[$uuid]
    Dashboard Should Show    ${pool}    devices ~\\bGPU ${index}\\b
    Element Should Contain    css:[data-device="${uuid}"]    6 of 24 GiB used
    ${id} =    Get Pool Id    ${pool}
    ${holders} =    Get Element Attribute    css:[data-device="${uuid}"]    textContent
    Should Contain    ${holders}    ${id}6 GiB

The dashboard shows the last error of pool ${pool} with its hint
    ${error} =    Get Pool Field    ${pool}    last_error
    Dashboard Should Show
    ...    ${pool}
    ...    last_error ENGINE_EXITED
    ...    last_error ${error}[message]
    ...    last_error Hint: ${error}[hint]

Every state has a shape beside its word
    ${plain} =    Execute Javascript
    ...    return [...document.querySelectorAll(".state")].filter((one) => !one.querySelector("svg") || !one.innerText.trim()).length
    Should Be Equal As Integers    ${plain}    0

The dashboard shows GPU ${gpu} as ${health}
    ${uuid} =    Get Gpu Uuid    ${gpu}
    Wait Until Element Contains    css:[data-device="${uuid}"]    ${health}    2 s

The last hour is drawn with a row per replica
    Wait Until Element Is Visible    css:svg.chart
    ${label} =    Get Element Attribute    css:svg.chart    aria-label
    Should Match Regexp    ${label}    ^Last hour: r0: .*ready \\d+ s; r1: .*ready \\d+ s
    ${drawn} =    Get Element Count    css:svg.chart [data-phase=ready]
    Should Be Equal As Integers    ${drawn}    2
