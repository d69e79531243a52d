*** Settings ***
Documentation       A new config restarts what it must and nothing else; a faulty one changes nothing at all.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
Only engines whose spawn spec changed are restarted
    [Tags]    B-CONFIG-014
    Given a daemon of its own
    And the pools of a config that is going to change
    When the config changes in many places
    And the daemon receives SIGHUP
    Then an event of kind config of the daemon comes within 5 s    to=reloaded
    And pool slots shows    slots_total 7    ready true    within=5 s
    And the engine of pool slots is another process
    And the engines of all other pools are the same processes
    And no other pool was ever unready
    And pool added becomes ready within 5 s

A removed pool is drained before it is stopped
    [Tags]    B-CONFIG-014
    Given a daemon of its own
    And a ready pool named kept
    And a ready pool named gone    drain.deadline_ms=60 s
    And a lease is held on pool gone    ttl=120 s
    And the pid of the engine of pool kept is noted
    And the pid of the engine of pool gone is noted
    When pool gone is removed from the config
    And the daemon receives SIGHUP
    Then an event of kind drain of pool gone comes within 5 s    to=started    details.trigger=config
    And the noted engine of pool gone lives while its lease is held
    When the lease is renewed over both protocols
    And the lease is released
    Then the drain of pool gone ends within 5 s as drained
    And no process of pool gone is left within 2 s
    And the engine of pool kept is still the same process

A faulty file changes nothing, and the log says what is wrong with it
    [Tags]    B-CONFIG-013
    Given a daemon of its own
    And these ready pools    name | slots    chat | 2    code | 8
    And the pid of the engine of pool chat is noted
    And the pid of the engine of pool code is noted
    And the status of every pool is noted
    When the file gets two faults
    And the daemon receives SIGHUP
    Then an event of kind config of the daemon comes within 5 s    to=refused
    And the daemon logs    level=error    human=~slotz
    And the daemon logs    level=error    human=~replicas
    And the status of every pool is as noted
    And the engine of pool chat is still the same process
    And the engine of pool code is still the same process
    When a dry run of the config reload is made
    Then it is refused with 400 INVALID_REQUEST
    And the answer names slotz
    When the faults are taken out again, and slots of pool chat are 5
    And the daemon receives SIGHUP
    Then pool chat shows    slots_total 5    ready true    within=5 s
    And the engine of pool code is still the same process

A dry run answers what the reload then does, and changes nothing
    [Tags]    B-CONFIG-015
    Given the pools of a config that is going to change
    And the status of every pool is noted
    When the config changes in many places
    And a dry run of the config reload is made
    And its answer is noted
    Then the reload reports pool added as added
    And the reload reports pool removed as removed
    And the reload reports pool same as unchanged
    And the reload reports pool slots as changed in slots
    And the reload reports pool times as changed in drain.deadline_ms and liveness.interval_ms
    And nothing has changed, and no event tells of a reload
    When the config is reloaded
    Then the answer is that of the dry run


*** Keywords ***
The pools of a config that is going to change
    Given a ready pool named same
    And a ready pool named slots
    And a ready pool named times    liveness.interval_ms=900
    And a ready pool named removed
    FOR    ${name}    IN    same    slots    times    removed
        Remember Engine    ${name}/r0
    END

The config changes in many places
    [Documentation]    One pool more, one less, one with another spawn spec, one with other times only.
    Define Pool    added    preload=True
    Change Pool    slots    slots=7
    Change Pool    times    drain.deadline_ms=2 s    liveness.interval_ms=800
    Remove Pool    removed
    Get Config Text

The engines of all other pools are the same processes
    FOR    ${name}    IN    same    times
        Engine Should Be The Same    ${name}/r0
    END

No other pool was ever unready
    FOR    ${name}    IN    same    times
        Get Event Count    ${name}    equals    0    kind=pool_unready
        Get Event Count    ${name}    equals    0    since_act=True    kind=phase
    END

The lease is renewed over both protocols
    [Documentation]    Its pool is on its way out, and lets it be.
    FOR    ${protocol}    IN    HTTP    gRPC
        Renew Lease    protocol=${protocol}
        Answer Should Be    accepted
    END

The noted engine of pool ${name} lives while its lease is held
    ${pid} =    Get Pid File    ${name}
    Process Should Live    ${{ int($pid) }}
    No Event Should Come    ${name}    during=200 ms    kind=phase    to=stopping
    Process Should Live    ${{ int($pid) }}

The file gets two faults
    [Documentation]    An unknown key, and a value that cannot be.
    ${text} =    Get Config Text
    ${faulty} =    Evaluate    $text.replace('slots = 2', 'slotz = 2').replace('slots = 8', 'slots = 8\\nreplicas = 0')
    VAR    ${SOUND TEXT} =    ${text}    scope=TEST
    Write Config Text    ${faulty}

The faults are taken out again, and slots of pool ${name} are ${slots}
    [Documentation]    By the keyword's own words.
    ${text} =    Evaluate    $SOUND_TEXT.replace('slots = 2', 'slots = ${slots}')
    Write Config Text    ${text}

Its answer is noted
    ${answer} =    Answer Body
    VAR    ${DRY} =    ${answer}    scope=TEST

Nothing has changed, and no event tells of a reload
    FOR    ${name}    IN    same    slots    times    removed
        Status Should Be As Remembered    ${name}
        Engine Should Be The Same    ${name}/r0
    END
    No Event Should Come    during=100 ms    kind=config

The answer is that of the dry run
    [Documentation]    But for the word that says whether it was one.
    ${answer} =    Answer Body
    FOR    ${list}    IN    added    changed    removed    unchanged
        Should Be Equal    ${answer}[${list}]    ${DRY}[${list}]
    END
