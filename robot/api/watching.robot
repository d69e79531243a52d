*** Settings ***
Documentation    A watcher gets every event once and in order, or is told what it missed.

Resource         PoolManagerResources/scenario.resource

Test Tags        api    OC-POOL-3030


*** Test Cases ***
A watcher that comes back gets what it missed, each event once and in order
    [Tags]    B-EVENT-003
    Given a pool    slots=2
    And the newest revision is noted
    When the pool is preloaded
    Then the pool becomes ready within 3 s
    When a lease is held on the pool for 10 ms
    And the pool is stopped
    Then a watcher with since= the noted revision gets all of it
    And a watcher with Last-Event-ID gets all of it
    And a watcher over gRPC gets all of it
    And a watcher that comes back in the middle gets the rest

Revisions go on rising after a kill of the daemon, and a watcher gets what it missed
    [Tags]    B-EVENT-002    B-EVENT-003
    Given a daemon of its own
    And a ready pool
    And the newest revision is noted
    When a lease is held on the pool for 10 ms
    And the daemon is killed and started again
    Then the pool becomes ready within 5 s
    And every later revision is above the noted one
    And no revision was used twice, and each run's rise by one
    And a watcher with since= the noted revision gets all of it
    And a watcher with Last-Event-ID gets all of it
    And a watcher over gRPC gets all of it

Live events follow the stored ones without a hole
    [Tags]    B-EVENT-003
    Given a pool
    And the newest revision is noted
    When 20 events happen
    And a watcher follows the events    since=${NOTED}
    And 20 events happen
    Then the watcher has each of the 40 once and in order

A watcher that comes back too late is told what it missed
    [Tags]    B-EVENT-004
    Given a daemon of its own    server.event_retention=30
    And a pool
    And the newest revision is noted
    When 100 events happen
    Then a watcher from the noted revision on over HTTP gets a gap, and all that is kept
    And a watcher from the noted revision on over gRPC gets a gap, and all that is kept

A watcher that stops reading disturbs nobody, and is told what it missed
    [Tags]    B-EVENT-005
    Given a daemon of its own
    And a pool
    And a watcher that reads nothing
    When 11000 events happen at once
    Then other watchers get each within 5 s
    And the daemon's memory has grown by less than 64 MiB
    And the watcher that reads again was cut off or is given a gap

Streams and log tell the same story
    [Tags]    B-EVENT-006
    Given a pool    restart.initial_ms=100 ms    restart.floor_ms=50 ms
    And a watcher on each protocol
    When the pool is preloaded
    Then the pool becomes ready within 3 s
    When a lease is held on the pool for 10 ms
    And the engine is killed
    Then the pool becomes unready within 1 s
    And the pool becomes ready within 4 s
    When the pool is stopped
    Then both watchers and the log agree in each of more than 20 events


*** Keywords ***
The newest revision is noted
    ${list} =    Get Pool List
    VAR    ${NOTED} =    ${list}[revision]    scope=TEST

Every later revision is above the noted one
    ${events} =    Get Events    since_act=True
    Should Not Be Empty    ${events}
    Should Be True    ${events}[0][revision] > ${NOTED}

No revision was used twice, and each run's rise by one
    ${events} =    Get Events
    FOR    ${before}    ${after}    IN ZIP    ${events}    ${events[1:]}    mode=SHORTEST
        IF    '${after}[kind]' == 'daemon' and '${after}[to]' == 'started'
            Should Be True    ${after}[revision] > ${before}[revision]
        ELSE
            Should Be Equal As Integers    ${after}[revision]    ${{ $before['revision'] + 1 }}
        END
    END

${count:\d+} events happen
    Make Many Events    ${count}

${count:\d+} events happen at once
    ${last} =    Flood With Events    ${count}
    VAR    ${LAST} =    ${last}    scope=TEST

All That Happened Since
    [Documentation]    The events above a revision, as the run's own watcher has followed them from the first one on.
    [Arguments]    ${revision}
    ${events} =    Get Events
    ${later} =    Evaluate    [one for one in $events if one['revision'] > ${revision}]
    Should Not Be Empty    ${later}
    RETURN    ${later}

A watcher with since= the noted revision gets all of it
    ${expected} =    All That Happened Since    ${NOTED}
    ${events} =    Read Event Stream    until=${expected}[-1][revision]    since=${NOTED}
    Should Be Equal    ${events}    ${expected}

A watcher with Last-Event-ID gets all of it
    ${expected} =    All That Happened Since    ${NOTED}
    ${events} =    Read Event Stream    until=${expected}[-1][revision]    last_event_id=${NOTED}
    Should Be Equal    ${events}    ${expected}

A watcher over gRPC gets all of it
    ${expected} =    All That Happened Since    ${NOTED}
    Call Grpc Stream    Watch    at_most=${{ len($expected) }}    since=${NOTED}
    ${events} =    Answer Body
    Should Be Equal    ${events}    ${expected}

A watcher that comes back in the middle gets the rest
    ${all} =    All That Happened Since    ${NOTED}
    VAR    ${middle} =    ${all}[4][revision]
    ${events} =    Read Event Stream    until=${all}[-1][revision]    since=${middle}
    Should Be Equal    ${events}    ${all}[5:]

The watcher has each of the ${count} once and in order
    [Documentation]    Between them lie events of others, whose devices come and go on the same daemon.
    ${expected} =    All That Happened Since    ${NOTED}
    ${of_pool} =    Evaluate    [one for one in $expected if one['kind'] == 'lease']
    Length Should Be    ${of_pool}    ${count}    msg=Not ${count} events of leases since the noted revision
    ${events} =    Get Watched Events    at_least=${{ len($expected) }}
    Should Be Equal    ${events}[:${{ len($expected) }}]    ${expected}

A watcher from the noted revision on over ${protocol} gets a gap, and all that is kept
    ${list} =    Get Pool List
    Start Watching    since=${NOTED}    protocol=${protocol}    name=${protocol}
    ${events} =    Get Watched Events    ${protocol}    at_least=10
    VAR    ${gap} =    ${events}[0]
    Should Be Equal    ${gap}[kind]    gap
    Should Be Equal    ${gap}[details][missed_from]    ${{ $NOTED + 1 }}
    ${revisions} =    Evaluate    [one['revision'] for one in $events[1:]]
    ${kept} =    Evaluate    list(range($gap['details']['missed_to'] + 1, $list['revision'] + 1))
    Should Be Equal    ${revisions}    ${kept}
    Should Be True    len($kept) >= 30

A watcher that reads nothing
    Open Stalled Watcher
    ${before} =    Get Daemon Memory
    VAR    ${MEMORY} =    ${before}    scope=TEST

Other watchers get each within ${time}
    Event Delays Should Be Short    ${time}

The daemon's memory has grown by less than ${size} MiB
    ${after} =    Get Daemon Memory
    Should Be True    ${after} - ${MEMORY} < ${size} * 2**20

The watcher that reads again was cut off or is given a gap
    ${events} =    Read Stalled Watcher    until=${LAST}
    Should Be True    $events[-1]['revision'] < int($LAST)
    VAR    ${last} =    ${None}
    FOR    ${event}    IN    @{events}
        IF    $last is not None and $event['kind'] == 'gap'
            Should Be Equal    ${event}[details][missed_from]    ${{ $last + 1 }}
            VAR    ${last} =    ${event}[details][missed_to]
        ELSE
            IF    $last is not None
                Should Be Equal    ${event}[revision]    ${{ $last + 1 }}
            END
            VAR    ${last} =    ${event}[revision]
        END
    END

A watcher on each protocol
    ${list} =    Get Pool List
    Start Watching    since=${list}[revision]    protocol=HTTP    name=one
    Start Watching    since=${list}[revision]    protocol=gRPC    name=other

Both watchers and the log agree in each of more than ${count} events
    ${http} =    Get Watched Events    one    at_least=${count}
    ${grpc} =    Get Watched Events    other    at_least=${count}
    ${compared} =    Streams And Log Should Agree    ${http}    ${grpc}
    Should Be True    ${compared} > ${count}
