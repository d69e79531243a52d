*** Settings ***
Documentation    An open dashboard follows what happens, says when it cannot, and goes on where it was. Skipped where there is no Chromium.

Resource         PoolManagerResources/scenario.resource
Resource         PoolManagerResources/dashboard.resource

Suite Setup      Need Browser

Test Tags        dashboard    browser    OC-POOL-3030


*** Test Cases ***
A change of state is shown within 2 s, and the page is not loaded anew
    [Tags]    B-DASH-002
    Given a ready pool    restart.initial_ms=60 s
    And the dashboard is open
    And the dashboard shows the pool    phase ready    leases 0 of 4
    When a caller asks for a lease on the pool
    And it is accepted
    Then the dashboard shows the pool    leases 1 of 4    within=2 s
    When the engine is killed
    Then the dashboard shows the pool    phase backoff    ready no    last_error SIGKILL    within=2 s
    And the newest events on the dashboard tell it
    When the pool is preloaded
    Then the dashboard shows the pool    phase ready    ready yes    last_error ~^$    within=2 s
    And the page has not been loaded anew

At an address that names no pool, nor anything that can be read, the page follows all the same
    [Tags]    B-DASH-002
    Given a ready pool    restart.initial_ms=60 s
    And the dashboard is open at "#%"
    When the engine is killed
    Then the dashboard shows the pool    phase backoff    within=2 s
    And the newest events on the dashboard tell it
    And the dashboard's unreachable says "nothing"

A pool that the config adds or removes comes and goes
    [Tags]    B-DASH-002
    Given a daemon of its own
    And a pool named one
    And the daemon is started
    And the dashboard is open
    When a pool named two
    And the config is reloaded
    Then the dashboard shows pool two    phase stopped    within=2 s
    When pool one is removed from the config
    And the config is reloaded
    Then pool one is gone from the dashboard within 2 s

It says that the daemon cannot be reached, and goes on where it was once it can
    [Tags]    B-DASH-002
    Given a daemon of its own at a fixed address
    And a ready pool
    And the dashboard is open
    When the daemon is killed
    Then the dashboard says that the daemon cannot be reached
    And the page is shown in the report
    When the daemon is started
    And an event of kind pool_ready comes within 10 s
    And the engine exits with code 3
    Then the dashboard is live again within 5 s
    And the dashboard shows the events of the time when it was cut off
    And the page has not been loaded anew

It says that events are missing where it was cut off for too long, and shows what is
    [Tags]    B-DASH-002
    Given a daemon of its own    server.event_retention=1000
    And a GPU
    And a ready pool
    And the dashboard is open
    When the page is cut off from the daemon
    Then the dashboard says that the daemon cannot be reached
    When more events happen than are kept
    And the pool is stopped
    And the page can reach the daemon again
    Then the dashboard is live again within 5 s
    And the dashboard shows the pool    phase stopped    within=5 s
    And the dashboard says which events it has missed

Of 200 pools it shows those that are searched for, and changes only the row that is concerned
    [Tags]    B-DASH-001    B-DASH-002
    Given a GPU named big with 640 GiB
    And 200 pools    gpu=big    share_devices=true    vram_bytes=1GiB
    And pool p117 has been preloaded
    And the dashboard is open
    And the dashboard's groups says "All 200"
    When the dashboard is searched for "ready p117"
    Then the dashboard lists    p117
    When the dashboard is searched for "no such pool"
    Then the dashboard's no-pools says "No pool matches “no such pool”."
    When the dashboard is searched for "${EMPTY}"
    And only ready pools are chosen on the dashboard
    Then the dashboard lists    p117
    When only all pools are chosen on the dashboard
    And the rows of the dashboard are watched
    And a caller asks for a lease on pool p117
    And it is accepted
    Then the dashboard shows pool p117    leases 1 of 4
    And no row but that of pool p117 has been changed
    And the page fits its window
    And the page is shown in the report


*** Keywords ***
The newest events on the dashboard tell it
    ${id} =    Get Pool Id
    Wait Until Element Contains    id:events    restart scheduled
    Element Should Contain    css:#events [data-kind=pool_unready]    ${id}
    Element Should Contain    css:#events [data-kind=pool_unready]    ENGINE_EXITED

The page has not been loaded anew
    Dashboard Should Not Have Been Reloaded

${pool} is gone from the dashboard within ${time}
    ${id} =    Get Pool Id    ${pool}
    Wait Until Page Does Not Contain Element    css:[data-pool="${id}"]    ${time}

A daemon of its own at a fixed address
    ${port} =    Find Free Port
    Prepare Daemon    server.http=127.0.0.1:${port}

The dashboard shows the events of the time when it was cut off
    [Documentation]    What the daemon did before the page was back is told by the stream from where the page had read it.
    Wait Until Element Contains    css:#events [data-kind=adopted]    adopted    5 s
    ${id} =    Get Pool Id
    Wait Until Element Contains    css:#events [data-kind=pool_unready]    ${id}    5 s

A GPU
    Define Gpu

The page is cut off from the daemon
    Cut Off Page

The page can reach the daemon again
    Reconnect Page

More events happen than are kept
    Flood With Events    1200

The dashboard says which events it has missed
    Dashboard Should Say    missed    are no longer kept for this watcher    5 s

The rows of the dashboard are watched
    Watch Dashboard Rows

No row but that of pool ${pool} has been changed
    ${id} =    Get Pool Id    ${pool}
    ${changes} =    Changed Dashboard Rows
    Should Be Equal    ${{ list($changes) }}    ${{ [$id] }}    Changed: ${changes}

The page fits its window
    Page Should Fit Its Window
