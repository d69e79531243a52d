*** Settings ***
Documentation    A daemon that is told to end starts nothing any more, and says so as long as it drains.

Resource         PoolManagerResources/scenario.resource

Test Tags        api    B-API-041


*** Test Cases ***
While the daemon drains, it starts nothing and says so on both protocols
    Given a daemon that drains because of a lease, beside an idle pool
    When pool idle is preloaded
    Then it is refused with 503 SHUTTING_DOWN
    When pool busy is reloaded to small.gguf
    Then it is refused with 503 SHUTTING_DOWN
    When a caller asks for a lease on pool busy
    Then it is refused with 503 SHUTTING_DOWN
    And the error's retriable is true
    When pool idle is preloaded over gRPC
    Then it is refused with UNAVAILABLE SHUTTING_DOWN
    When pool busy is reloaded to small.gguf    protocol=gRPC
    Then it is refused with UNAVAILABLE SHUTTING_DOWN
    When a caller asks for a lease on pool busy over gRPC
    Then it is refused with UNAVAILABLE SHUTTING_DOWN
    When the lease is released
    Then the daemon exits with 0 within 5 s
    And nothing was started meanwhile


*** Keywords ***
A daemon that drains because of a lease, beside an idle pool
    Prepare Daemon    server.shutdown_drain_ms=20 s
    Define Pool    busy
    Define Pool    idle
    Preload Pool    busy    wait=5 s
    Answer Should Be    200
    Acquire Lease    busy
    Signal Daemon    SIGTERM
    Wait For Event    busy    within=2 s    kind=drain    to=started

Nothing was started meanwhile
    ${pids} =    Get Engine Pids    idle
    Should Be Empty    ${pids}
    ${records} =    Get Daemon Log    kind=phase    to=starting    pool=idle
    Should Be Empty    ${records}
    ${records} =    Get Daemon Log    kind=phase    to=starting    pool=busy
    Length Should Be    ${records}    1
