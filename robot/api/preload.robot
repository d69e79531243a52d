*** Settings ***
Documentation    Preload over the API: what is answered, and when.

Resource         PoolManagerResources/scenario.resource

Test Tags        api    OC-POOL-3001


*** Test Cases ***
A preload starts exactly one process for each replica
    [Tags]    B-API-010
    Given a pool    replicas=2
    When the pool is preloaded
    Then it answers 202
    And the pool becomes ready within 3 s
    And the pool has 2 engine processes

A preload is answered at once and says where to look
    [Tags]    B-API-011    OC-POOL-3003
    Given a pool whose engine needs 500 ms to load
    When the pool is preloaded
    Then it answers 202
    And it takes at most 400 ms
    And the answer's Location leads to the pool's status
    And the answer's ready is false
    And the pool becomes ready within 3 s

A preload that waits is answered when the pool is ready
    [Tags]    B-API-011    OC-POOL-3003
    Given a pool whose engine needs 300 ms to load    replicas=2    min_ready=2
    When a caller waits 5 s for the preload of the pool
    Then it answers 200
    And it takes at least 300 ms
    And the answer's ready is true
    And each replica in the answer has its pid, url and handoff file

A failed preload is answered with its failure
    [Documentation]    The whole problem document is checked: status by code, retriable, message.
    [Tags]    B-API-012    OC-POOL-3002    OC-POOL-3003
    Given a GPU with 8 GiB of which 6 GiB are free
    And a pool that needs 7 GiB on it
    When a caller waits 2 s for the preload of the pool
    Then it is refused with 503 INSUFFICIENT_VRAM
    And the error names the device, 7 GiB required and 6 GiB free
    And the error's retriable is true
    And the error has a hint

A preload that crashes is answered with its failure
    [Tags]    B-API-012    OC-POOL-3002    OC-POOL-3003
    Given a pool whose engine exits with code 3 while loading
    When a caller waits 5 s for the preload of the pool
    Then it is refused with 502 ENGINE_EXITED
    And the error names "exit code 3"
    And the error's details.exit_code is 3
    And the error has a hint

Two preloads at once load side by side
    [Tags]    B-API-025
    Given these pools    name | behaviour    one | needs 600 ms to load    two | needs 600 ms to load
    When both pools are preloaded at once
    Then both pools become ready within 3 s
    And both were loading at the same time

A second preload of a ready pool changes nothing
    [Tags]    B-API-026
    Given a ready pool
    And the pid of the engine is noted
    When the pool is preloaded
    Then it answers 200
    And the answer's ready is true
    And no event of kind phase comes within 150 ms
    And no event of kind preload comes within 0 ms
    And the engine is still the same process
    And the pool has 1 engine process

A second preload of a loading pool joins the load
    [Tags]    B-API-026
    Given a pool whose engine needs 700 ms to load
    And the pool is loading
    And the pid of the engine is noted
    When the pool is preloaded
    Then it answers 202
    And the answer's phase is loading
    And the answer has the noted engine's pid
    And the pool has 1 engine process
    And the pool becomes ready within 3 s
    And the engine is still the same process
    And the pool was loaded once

A wait that is over before the load is answered with the present state
    [Tags]    B-API-027
    Given a pool whose engine needs 800 ms to load
    When a caller waits 200 ms for the preload of the pool
    Then it answers 202
    And it takes at least 200 ms
    And it takes at most 700 ms
    And the answer's phase is loading
    And the pool becomes ready within 3 s
    And the pool was loaded once

A load goes on when its caller hangs up
    [Tags]    B-API-027
    Given a pool whose engine needs 500 ms to load
    When the caller of a waiting preload hangs up after 100 ms
    Then the pool becomes ready within 3 s
    And the pool was loaded once
    And the pool shows    desired running    restart_count 0

A handoff file that cannot be written does not keep a pool from being ready
    [Tags]    B-API-013
    Given a daemon of its own
    And a pool
    And the daemon is started
    And the engines folder has become a plain file
    When a caller waits 5 s for the preload of the pool
    Then it answers 200
    And the last error of the pool is STORE_UNAVAILABLE
    And the error names the path
    And every other surface shows the pool ready
    When the engines folder is back
    Then the handoff file of the engine appears within 3 s
    And the last error of the pool is none within 1 s


*** Keywords ***
Both pools are preloaded at once
    Preload Pool    both pools

Both pools become ready within ${time}
    Pool Should Become    pool one    ready    within=${time}
    Pool Should Become    pool two    ready    within=${time}

Both were loading at the same time
    ${one_loads} =    Get Events    pool one    kind=phase    to=loading
    ${two_loads} =    Get Events    pool two    kind=phase    to=loading
    ${ready} =    Get Events    kind=pool_ready
    ${first_ready} =    Evaluate    min(one['revision'] for one in $ready[-2:])
    Should Be True    ${one_loads}[0][revision] < ${first_ready}
    Should Be True    ${two_loads}[0][revision] < ${first_ready}

The answer's Location leads to the pool's status
    ${location} =    Answer Header    Location
    ${id} =    Get Pool Id
    Should Be Equal    ${location}    /v2/pools/${id}

Each replica in the answer has its pid, url and handoff file
    ${replicas} =    Answer Field    replicas
    Length Should Be    ${replicas}    2
    FOR    ${replica}    IN    @{replicas}
        Should Be True    $replica['ready'] and $replica['pid'] > 0
        Should Start With    ${replica}[url]    http://
        Process Should Live    ${replica}[pid]
        Get Handoff    url    ==    ${replica}[url]    engine=${replica}[replica_id]
        Get Handoff    pid    ==    ${replica}[pid]    engine=${replica}[replica_id]
    END

The error has a hint
    Error Field    hint    !=    ${None}
    Error Field    hint    !=    ${EMPTY}

The pool is loading
    Preload Pool    the pool
    Pool Should Become    the pool    in phase loading    within=3 s

The answer has the noted engine's pid
    ${pid} =    Answer Field    replicas.0.pid
    Get Engine Pid    the engine    ==    ${pid}

The pool was loaded once
    ${starts} =    Get Events    the pool    kind=phase    to=starting
    Length Should Be    ${starts}    1

The caller of a waiting preload hangs up after ${time}
    Call And Hang Up    /v2/pools/{pool}/preload?wait=10    after=${time}

The engines folder has become a plain file
    Make Handoff Folder Unusable

The engines folder is back
    Make Handoff Folder Usable

The error names the path
    ${path} =    Get State Path    engines
    Error Should Name    "${path}"

Every other surface shows the pool ready
    Surfaces Should Agree
    ...    the pool
    ...    ready
    ...    HTTP status
    ...    HTTP list
    ...    gRPC status
    ...    gRPC health
    ...    ready
    ...    metrics

The handoff file of the engine appears within ${time}
    State File Should Exist    handoff    within=${time}
    ${id} =    Get Pool Id
    Get Handoff    pool_id    ==    ${id}
