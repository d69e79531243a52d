*** Settings ***
Documentation       Engines that end under a daemon that is not their parent, or while there is none.
Resource            PoolManagerResources/scenario.resource
Test Tags           persistence


*** Test Cases ***
The crash of an adopted engine is noticed, named, counted and mended
    [Documentation]    How it ended, the kernel tells once somebody has reaped it; until then the cause is unknown.
    [Tags]    B-PERSIST-005    B-PERSIST-021
    Given a daemon of its own
    And these ready pools    name | restart.initial_ms | restart.jitter
    ...    exits | 500 ms | 0
    ...    crashes | 500 ms | 0
    ...    slow | 4 s | 0
    And orphans are reaped at once    engine of pool slow
    And the daemon is killed and started again
    And every pool has been adopted
    When the engine of pool exits exits with code 7
    Then its crash is noticed within 100 ms, as exit_code    pool=exits    exit_code=7
    When the engine of pool crashes is killed by SIGSEGV
    Then its crash is noticed within 100 ms, as SIGSEGV    pool=crashes    signal=SIGSEGV
    When the engine of pool slow is killed by SIGABRT
    Then its crash is noticed within 100 ms, as unknown    pool=slow
    When the host's init reaps the engine of pool slow
    Then the last error of pool slow names SIGABRT, and counts once
    And pools exits and crashes were restarted after their backoff

An engine that ended while no daemon ran counts as a failure, however it ended
    [Tags]    B-PERSIST-006    B-PERSIST-014    OC-POOL-3003
    Given a daemon of its own
    And these ready pools    name | restart.initial_ms | restart.jitter
    ...    killed | 1 s | 0
    ...    graceful | 1 s | 0
    And the daemon is killed
    And the engine of pool killed ended by SIGKILL
    And the engine of pool graceful ended by SIGTERM
    When the daemon is started
    Then both pools show the end as a failure of unknown cause
    And no files of every pool are left
    And both pools are restarted after 1 s, as after any failure


*** Keywords ***
Every pool has been adopted
    Wait Until Pool Is Ready    every pool
    FOR    ${name}    IN    exits    crashes    slow
        Get Replica Field    ${name}/r0    adopted    ==    ${True}
    END

Its crash is noticed within ${time}, as ${cause}
    [Documentation]    By the event's own time; with all that is known in its details, and counted as a failure.
    [Arguments]    ${pool}    ${exit_code}=${None}    ${signal}=${None}
    Pool Should Become    ${pool}    unready    within=${time}
    ${event} =    Wait For Event    ${pool}    kind=phase    to=backoff
    Should Be Equal    ${event}[code]    ENGINE_EXITED
    Should Be Equal    ${event}[details][cause]    ${cause}
    Should Be Equal As Strings    ${event}[details][exit_code]    ${exit_code}
    Should Be Equal    ${event}[details][signal]    ${signal}
    Pool Should Show    ${pool}    breaker.failures 1    last_error.details.cause ${cause}

The host's init reaps the engine of pool ${name}
    Reap Orphan    ${name}/r0

The last error of pool ${name} names ${signal}, and counts once
    [Documentation]    In a second event of the same replica.
    ${event} =    Wait For Event    ${name}    within=1 s    kind=phase    code=ENGINE_EXITED
    Should Be Equal    ${event}[details][signal]    ${signal}
    Pool Should Show    ${name}    phase backoff    breaker.failures 1    last_error.details.cause ${signal}

Pools ${first} and ${second} were restarted after their backoff
    FOR    ${name}    IN    ${first}    ${second}
        Wait Until Pool Is Ready    ${name}
        Time Between Phases    backoff    preflight    >=    500 ms    name=${name}
        Pool Should Show    ${name}    restart_count 1    replicas.0.adopted false
    END

The engine of pool ${name} ended by ${signal}
    [Documentation]    While no daemon runs.
    ${pid} =    Get Pid File    ${name}
    Evaluate    os.kill(int($pid), signal.${signal})    modules=os, signal
    Process Should Be Gone    ${{ int($pid) }}    within=5 s    zombie_allowed=True

Both pools show the end as a failure of unknown cause
    FOR    ${name}    IN    killed    graceful
        ${event} =    Wait For Event    ${name}    within=40 s    kind=phase    code=ENGINE_EXITED    to=backoff
        Should Be Equal    ${event}[details][cause]    unknown
        Pool Should Show    ${name}    breaker.failures 1    last_error.code ENGINE_EXITED    last_error.details.cause unknown
        Get Event Count    ${name}    equals    0    kind=adopted
    END

Both pools are restarted after ${time}, as after any failure
    FOR    ${name}    IN    killed    graceful
        Wait Until Pool Is Ready    ${name}
        Time Between Phases    backoff    preflight    >=    ${time}    name=${name}
        Pool Should Show    ${name}    restart_count 1    breaker.failures 1
    END
