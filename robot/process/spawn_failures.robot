*** Settings ***
Documentation    An engine that cannot be executed is reported with its path and the system's reason, and leaves nothing behind.

Resource         PoolManagerResources/scenario.resource

Test Tags        process


*** Test Cases ***
A binary that cannot be run fails the preload with its path and the reason
    [Tags]    B-ERROR-010    B-ERROR-012    OC-POOL-3003
    [Template]    A pool whose binary ${is} fails with ${code} and "${reason}"
    does not exist    ENGINE_NOT_FOUND    does not exist
    is a folder    ENGINE_NOT_FOUND    is not a file
    is not executable    ENGINE_NOT_FOUND    is not executable
    has a first line that names nothing    ENGINE_NOT_FOUND    No such file or directory
    is of a wrong format    SPAWN_FAILED    Exec format error
    is empty    SPAWN_FAILED    Exec format error

A caller who waits for the preload is told the same
    [Tags]    B-ERROR-010    OC-POOL-3003
    ${binary} =    Create Program    wrong-format    text=\x7fELF but not really
    Given a pool    binary=${binary}    restart.initial_ms=10 s    restart.max_ms=10 s
    When a caller waits 5 s for the preload of the pool over gRPC
    Then it is refused with SPAWN_FAILED
    And it takes at most 3 s
    And the error names "${binary}", "Exec format error"

A failed spawn writes one log line of level error
    [Tags]    B-ERROR-011    OC-POOL-3030
    ${binary} =    Create Program    wrong-format    text=\x7fELF but not really
    Given a pool    binary=${binary}    restart.initial_ms=10 s    restart.max_ms=10 s
    When the pool is preloaded
    Then the preload fails within 2 s with SPAWN_FAILED
    And the daemon logs exactly one error of the pool, with SPAWN_FAILED and ${binary}

A missing binary writes one log line of level error
    [Tags]    B-ERROR-011    OC-POOL-3030
    Given a pool    binary=/nowhere/engine
    When the pool is preloaded
    Then the preload fails within 2 s with ENGINE_NOT_FOUND
    And the daemon logs exactly one error of the pool, with ENGINE_NOT_FOUND and /nowhere/engine


*** Keywords ***
A pool whose binary ${is} fails with ${code} and "${reason}"
    ${binary} =    Run Keyword    A binary that ${is}
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define Pool    ${name}    binary=${binary}    restart.initial_ms=10 s    restart.max_ms=10 s
    Preload Pool    ${name}
    Load Should Fail    ${name}    ${code}    within=2 s
    Last Error Should Be    ${name}    ${code}
    Error Should Name    "${binary}"    "${reason}"
    Error Field    details.path    ==    ${binary}
    Nothing Is Left Of A Start    ${name}

Nothing Is Left Of A Start
    [Arguments]    ${name}
    No Files Of Pool Should Be Left    ${name}
    Engine Process Count    ${name}    ==    0    within=0 s
    Phase Should Never Be    ${name}    loading
    Get Replica Field    ${name}/r0    pid    ==    ${None}

A binary that does not exist
    RETURN    /nowhere/engine

A binary that is a folder
    ${folder} =    Get Daemon    folder
    RETURN    ${folder}

A binary that is not executable
    ${binary} =    Create Program    not-executable    text=\#!/bin/sh    mode=644
    RETURN    ${binary}

A binary that has a first line that names nothing
    ${binary} =    Create Program    lost-interpreter    text=\#!/nowhere/interpreter
    RETURN    ${binary}

A binary that is of a wrong format
    ${binary} =    Create Program    wrong-format    text=\x7fELF but not really
    RETURN    ${binary}

A binary that is empty
    ${binary} =    Create Program    empty    text=${SPACE}
    RETURN    ${binary}

The daemon logs exactly one error of the pool, with ${code} and ${path}
    Daemon Log Should Have    level=error    pool=the pool
    ${records} =    Get Daemon Log    level=error    pool=the pool
    Length Should Be    ${records}    1    It should be one line: ${records}
    Should Be Equal    ${records}[0][code]    ${code}
    Should Be Equal    ${records}[0][path]    ${path}
