*** Settings ***
Documentation    A device library that fails is said to fail; what it said last is shown as such.

Resource         PoolManagerResources/scenario.resource

Test Tags        api    B-API-022


*** Test Cases ***
While the device library fails, the last values are shown as stale
    Given a daemon of its own
    And a pool named other
    And a ready pool    restart.initial_ms=100 ms    restart.floor_ms=50 ms    liveness.interval_ms=100 ms
    And the devices have been looked at
    When the device library fails
    Then the devices are shown as before, marked stale
    When a caller waits 3 s for the preload of pool other
    Then it is refused with 503 GPU_UNAVAILABLE
    And the pool shows ready true
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the daemon still serves
    When the device library works again
    Then the devices are shown fresh within 3 s
    And the pool becomes ready within 5 s
    And pool other is in phase ready within 5 s


*** Keywords ***
The devices have been looked at
    Http Request    GET    /v2/devices
    Answer Field    stale    ==    ${False}
    ${devices} =    Answer Field    devices
    VAR    ${BEFORE} =    ${devices}    scope=TEST

The devices are shown as before, marked stale
    Http Request    GET    /v2/devices
    Answer Should Be    200
    Answer Field    stale    ==    ${True}
    ${devices} =    Answer Field    devices
    Length Should Be    ${devices}    ${{ len($BEFORE) }}
    FOR    ${device}    ${before}    IN ZIP    ${devices}    ${BEFORE}
        Should Be True    $device['stale']
        FOR    ${field}    IN    uuid    index    name    memory_total_bytes    memory_used_bytes    health
            Should Be Equal    ${device}[${field}]    ${before}[${field}]
        END
    END

The devices are shown fresh within ${time}
    Wait Until Keyword Succeeds    ${time}    20 ms    The Devices Are Fresh

The Devices Are Fresh
    Http Request    GET    /v2/devices
    Answer Field    stale    ==    ${False}
    ${devices} =    Answer Field    devices
    FOR    ${device}    IN    @{devices}
        Should Not Be True    $device['stale']
    END
