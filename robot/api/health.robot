*** Settings ***
Documentation    The daemon says that it serves, whatever its pools do.

Resource         PoolManagerResources/scenario.resource

Test Tags        api


*** Variables ***
&{QUICK}    restart.initial_ms=100 ms    restart.floor_ms=50 ms


*** Test Cases ***
Health is ok as soon as the daemon takes connections, and without any pool
    [Tags]    B-API-001    B-API-002    OC-POOL-3001
    Given somebody who asks a port for health, again and again
    And a daemon of its own    gpus=1    server.http=127.0.0.1:${HTTP_PORT}
    When the daemon is started
    Then the first connection that it took was answered with 200 and ok
    And it has no pools
    And health is ok

Health names the version of the installed package
    [Tags]    B-API-001    B-API-003
    Given a running daemon
    When a caller sends GET /health
    Then it answers 200
    And the answer's status is ok
    And the answer's version is the installed package's
    And the answer's version is what pool-managerd --version prints

Health is ok while a pool loads
    [Tags]    B-API-002    OC-POOL-3001
    Given a pool whose engine never becomes ready
    When the pool is preloaded
    Then the pool reaches phase loading within 2 s
    And health is ok

Health is ok while no pool is ready and a circuit is open
    [Tags]    B-API-002    OC-POOL-3001
    Given a pool whose engine exits with code 3 while loading    breaker.failures=1    &{QUICK}
    And a pool named idle
    When pool pool is preloaded
    Then pool pool is in phase circuit_open within 3 s
    And every pool is not ready
    And health is ok


*** Keywords ***
Somebody who asks a port for health, again and again
    ${port} =    Find Free Port
    VAR    ${HTTP_PORT} =    ${port}    scope=TEST
    Start Calling    /health    ${port}

The first connection that it took was answered with 200 and ok
    ${health} =    First Call Should Be Answered    200
    Should Be Equal    ${health}[status]    ok
    Should Not Be Empty    ${health}[version]

The answer's version is the installed package's
    ${version} =    Evaluate    importlib.metadata.version('pool-managerd-bdd')    modules=importlib.metadata
    Answer Field    version    ==    ${version}

The answer's version is what pool-managerd --version prints
    ${version} =    Answer Field    version
    Run Pool Managerd    --version
    Answer Should Be    0
    Answer Text    contains    ${version}

It has no pools
    ${list} =    Get Pool List
    Should Be Empty    ${list}[pools]

Health is ok
    FOR    ${path}    IN    /health    /livez
        Http Request    GET    ${path}
        Answer Should Be    200
        Answer Field    status    ==    ok
    END
