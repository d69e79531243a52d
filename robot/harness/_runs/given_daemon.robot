*** Settings ***
Documentation    For `given_daemon.robot`, which runs it against a daemon that runs already, whose pool is ``POOL``.

Resource         PoolManagerResources/scenario.resource
Library          Process


*** Test Cases ***
It drives the daemon that was given
    Given the daemon still serves
    When a caller sends POST /v2/pools/${POOL}/preload
    Then it is accepted
    And pool_ready comes within 30 s for the pool that was given

It calls it over gRPC, too
    When a caller asks for the status of unknown pool nobody over gRPC
    Then it is refused with POOL_NOT_FOUND

A test that needs a pool of its own
    Given a ready pool
    Then the pool is ready

A test that needs a GPU of its own
    Given a GPU with 8 GiB
    Then the daemon still serves

A test that needs a daemon of its own
    Given a daemon of its own
    When the daemon is killed
    Then the daemon still serves


*** Keywords ***
${kind} comes within ${time} for the pool that was given
    Wait For Event    within=${time}    kind=${kind}    pool_id=${POOL}
