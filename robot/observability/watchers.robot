*** Settings ***
Documentation    Many watchers of a busy stream.

Resource         PoolManagerResources/scenario.resource

Test Tags        observability    OC-POOL-3030


*** Test Cases ***
Twenty watchers of 2000 events a second lose none, and one that comes too late is told of its gap
    [Documentation]    Fewer events are kept than happen, so that who comes late must miss some.
    [Tags]    B-EVENT-003    B-EVENT-004
    Given a daemon of its own    server.event_retention=500    log.level=warning
    And a GPU with 8 GiB
    And twenty watchers
    And the memory of the daemon is noted
    When 2000 events happen within a second
    Then each of the twenty was given every event, once and in order
    And the daemon's memory has grown by less than 32 MiB
    When a watcher comes that has seen the first event only
    Then it is given a gap first, which is counted and logged


*** Keywords ***
Twenty watchers
    Start Crowd Of Watchers    20

The memory of the daemon is noted
    ${before} =    Get Daemon Memory
    VAR    ${MEMORY} =    ${before}    scope=TEST

${count:\d+} events happen within a second
    Make Events At A Rate    ${count}    1 s

Each of the twenty was given every event, once and in order
    Crowd Should Have Seen Every Event    2000

The daemon's memory has grown by less than ${size} MiB
    ${after} =    Get Daemon Memory
    Should Be True    ${after} - ${MEMORY} < ${size} * 2**20

A watcher comes that has seen the first event only
    Start Watching    since=1    name=late

It is given a gap first, which is counted and logged
    ${events} =    Get Watched Events    late    at_least=2
    Should Be Equal    ${events}[0][kind]    gap
    Get Metric    event_gaps_total    equals    1
    Get Metric    events_total    equals    1    kind=gap
    VAR    ${missed} =    ${events}[0][details]
    Daemon Log Should Have    event=gap    level=warning    missed_from=${missed}[missed_from]    missed_to=${missed}[missed_to]
