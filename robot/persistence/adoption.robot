*** Settings ***
Documentation       The daemon may die; its engines do not, and the next daemon takes them over as they are.
Resource            PoolManagerResources/scenario.resource
Test Tags           persistence


*** Test Cases ***
A daemon killed under load finds everything as it was
    [Tags]    B-PERSIST-001    B-PERSIST-002    B-PERSIST-003    B-PERSIST-022    OC-POOL-3001    OC-POOL-3011
    Given a daemon of its own
    And a ready pool named code    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And the engine of pool code was replaced once
    And a ready pool named chat    replicas=2    min_ready=2    tokens_per_s=40
    And 2 leases are held on pool chat    ttl=120 s
    And callers take and release leases of pool code all the time
    And callers ask engine r1 of pool chat all the time
    And a completion of 120 tokens runs under a lease
    And the engines are noted
    When the daemon is killed
    Then engine r1 of pool chat goes on answering
    When the daemon is started
    Then every engine was adopted, and there is no second process
    And nothing was counted for it
    And pool chat shows active_leases 2
    And the daemon lists exactly the leases that are held
    And the completion ends whole within 5 s
    And engine r1 of pool chat has answered every call

A daemon told to leave its engines hands them to the next one
    [Tags]    B-PERSIST-001    B-PERSIST-002    B-PERSIST-003    B-PERSIST-022
    Given a daemon of its own    server.on_shutdown=leave
    And a ready pool named code    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And the engine of pool code was replaced once
    And a ready pool named chat    replicas=2    min_ready=2    tokens_per_s=40
    And 2 leases are held on pool chat    ttl=120 s
    And callers ask engine r1 of pool chat all the time
    And the engines are noted
    When the daemon is stopped
    Then engine r1 of pool chat goes on answering
    When the daemon is started
    Then every engine was adopted, and there is no second process
    And nothing was counted for it
    And the daemon lists exactly the leases that are held
    And engine r1 of pool chat has answered every call

An adopted engine keeps its memory
    [Tags]    B-PERSIST-011    OC-POOL-3002
    Given a daemon of its own
    And a GPU with 8 GiB
    And a ready pool named old    gpu=gpu0    share_devices=True    vram_bytes=5 GiB    simulated.vram_bytes=5 GiB
    And the pid of the engine of pool old is noted
    And the daemon is killed
    And a pool named new    gpu=gpu0    share_devices=True    preload=True    vram_bytes=4 GiB    simulated.vram_bytes=4 GiB
    When the daemon is started
    Then the preload of pool new fails within 40 s with INSUFFICIENT_VRAM
    And the error names the device, 4 GiB required and 3 GiB free
    And no engine process of pool new was started
    And the engine of pool old is still the same process
    And pool old shows    ready true    replicas.0.adopted true    within=2 s

An engine that hangs when the daemon comes back is not shown as Ready, and replaced
    [Tags]    B-PERSIST-015    OC-POOL-3001
    Given a daemon of its own
    And a ready pool    liveness.failures=2    liveness.probe_timeout_ms=150 ms    stop.grace_ms=100 ms
    ...    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    And the pid of the engine is noted
    And orphans are reaped at once
    And the daemon is killed
    And the engine is stopped in its tracks
    When the daemon is started
    Then an event of kind phase comes within 40 s    to=stopping    code=HEALTH_CHECK_FAILED
    And the pool becomes ready within 40 s
    And the pool then goes through loading, stopping, backoff, preflight, starting, loading, ready
    And the pool was ready only after its engine was another process


*** Keywords ***
The engine of pool ${name} was replaced once
    [Documentation]    Killed and restarted: there is something that an adoption could count on top of.
    Kill Engine    ${name}/r0
    Pool Should Become    ${name}    unready    within=1 s
    Pool Should Become    ${name}    ready    within=5 s
    Pool Should Show    ${name}    restart_count 1    breaker.failures 1

The engines are noted
    FOR    ${engine}    IN    chat/r0    chat/r1    code/r0
        Remember Engine    ${engine}
    END

Every engine was adopted, and there is no second process
    FOR    ${engine}    IN    chat/r0    chat/r1    code/r0
        Engine Should Have Been Adopted    ${engine}    within=2 s
    END
    Engine Process Count    chat    ==    2
    Engine Process Count    code    ==    1

Nothing was counted for it
    [Documentation]    Neither as a restart nor as a failure; the metrics of a new daemon begin at 0.
    FOR    ${engine}    ${count}    IN    chat/r0    0    chat/r1    0    code/r0    1
        ${name}    ${replica} =    Evaluate    $engine.split('/')
        Get Replica Field    ${engine}    restart_count    ==    ${count}
        Get Replica Field    ${engine}    breaker.failures    ==    ${count}
        Get Metric    restart_total    equals    0    pool=${name}    replica_id=${replica}
    END

The engine is stopped in its tracks
    [Documentation]    By SIGSTOP: it is there, and answers nothing.
    ${pid} =    Get Pid File
    Evaluate    os.kill(int($pid), signal.SIGSTOP)    modules=os, signal

The pool was ready only after its engine was another process
    [Documentation]    No readiness event of the time of the hanging one.
    Engine Should Be Another
    ${ready} =    Get Events    the pool    since_act=True    kind=phase    to=ready
    Length Should Be    ${ready}    1
    ${pid} =    Get Engine Pid
    Should Be Equal As Integers    ${ready}[0][details][pid]    ${pid}
