*** Settings ***
Documentation       A state directory belongs to one daemon at a time.
Resource            PoolManagerResources/scenario.resource
Test Tags           persistence


*** Test Cases ***
A second daemon on the same state directory refuses to serve
    [Tags]    B-CLI-007
    Given a daemon of its own
    And a ready pool
    And the pid of the engine is noted
    And a lease is held on the pool    ttl=120 s
    When a second daemon is started on the same state directory
    Then it exits with 1
    And the answer names the first daemon and the state directory, and what to do
    And the first daemon is not disturbed
    When the daemon is killed and started again
    Then the engine was adopted


*** Keywords ***
A second daemon is started on the same state directory
    Second Daemon On Same State

The answer names the first daemon and the state directory, and what to do
    ${pid} =    Get Daemon    pid
    ${folder} =    Get Daemon    state_dir
    Error Should Name    another daemon (pid ${pid})    ${folder}    Stop that daemon

The first daemon is not disturbed
    [Documentation]    It serves, its engine and its lease are there, and its files name it.
    Daemon Should Run
    Engine Should Be The Same
    Pool Should Show    the pool    ready true    active_leases 1
    Listed Leases Should Be Those Held
    ${pid} =    Get Daemon    pid
    ${folder} =    Get Daemon    state_dir
    ${document} =    Evaluate    json.load(open($folder + '/daemon.json'))    modules=json
    Should Be Equal As Integers    ${document}[pid]    ${pid}
