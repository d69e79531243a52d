*** Settings ***
Documentation       Breakers, backoffs and counts are the pool's, not the daemon's.
Library             DateTime
Resource            PoolManagerResources/scenario.resource
Test Tags           persistence    OC-POOL-3011


*** Test Cases ***
Circuits, backoffs and counts of each replica are as they were
    [Tags]    B-PERSIST-009    B-PERSIST-010
    Given a daemon of its own
    And a pool named open whose engine exits with code 3 while loading    replicas=2    breaker.failures=2
    ...    breaker.open_ms=30 s    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And a pool named trial whose engine exits with code 3 while loading    breaker.failures=1    breaker.open_ms=2500 ms
    And a ready pool named waiting    restart.initial_ms=30 s    restart.jitter=0
    And a ready pool named soon    restart.initial_ms=2500 ms    restart.jitter=0
    And the circuits of pool open have opened
    And the engine of pool waiting is killed
    And pool waiting reaches phase backoff within 1 s
    And the status of pool open is noted
    And the status of pool waiting is noted
    And the circuits of pool trial have opened
    And the engine of pool soon is killed
    And pool soon reaches phase backoff within 1 s
    And the times that trial and soon wait for are noted
    When the daemon is killed and started again
    Then the status of pool open is as noted
    And the status of pool waiting is as noted
    And pool trial reaches half_open at its time, or as soon as the daemon serves
    And pool soon reaches preflight at its time, or as soon as the daemon serves
    And nothing of pools open and waiting was started


*** Keywords ***
The circuits of pool ${name} have opened
    [Documentation]    Of each of its replicas.
    Preload Pool    ${name}
    Use Pool    ${name}
    Wait Until Expression    all(one['breaker']['state'] == 'open' for one in status['replicas'])    within=5 s

Nothing of pools open and waiting was started
    FOR    ${name}    IN    open    waiting
        Engine Should Not Have Been Started    ${name}
        Get Event Count    ${name}    equals    0    since_act=True    kind=preload
    END

The times that trial and soon wait for are noted
    FOR    ${name}    IN    trial    soon
        ${at} =    Get Pool Field    ${name}    next_restart_at
        VAR    ${AT ${name}} =    ${at}    scope=TEST
    END

Pool ${name} reaches ${phase} at its time, or as soon as the daemon serves
    [Documentation]    Within a second after the later one of both.
    ${event} =    Wait For Event    ${name}    within=40 s    kind=phase    to=${phase}
    ${served} =    Get Events    kind=daemon    to=started
    VAR    ${at} =    ${AT ${name}}
    ${later} =    Evaluate    max($at, $served[-1]['at'])
    ${early} =    Subtract Date From Date    ${event}[at]    ${at}
    ${late} =    Subtract Date From Date    ${event}[at]    ${later}
    Should Be True    ${early} >= -0.002 and ${late} < 1    It was due at ${at} and came at ${event}[at].
