*** Settings ***
Documentation    Scenarios that must fail, each with the message that its documentation says (``*`` is any text).
...              A scenario without a documentation passes. A run of a folder does not see them, for the folder's name begins with ``_``:
...              `failure_report.robot` runs them. By hand: ``bdd-runner robot/harness/_must_fail``.

Resource         PoolManagerResources/scenario.resource
Library          OperatingSystem
Library          Process


*** Test Cases ***
A state that does not come
    [Documentation]    Expected pool pool-* to be in phase ready within 400 ms, but not so after 4* ms and * looks.
    ...    Last seen: phase backoff, ready False, live False
    ...    Pool pool-*: phase backoff, ready False, live False, desired running
    ...    Last error: ENGINE_EXITED at 20*: *code 3*
    ...    Latest events (preload of the pool at *): * loading → backoff ENGINE_EXITED * restart_scheduled *
    Given a pool whose engine logs "these are my last words" and exits with code 3 while loading
    ...    restart.initial_ms=30 s
    When the pool is preloaded
    Then the pool reaches phase backoff within 10 s
    And the pool is in phase ready within 400 ms

An event that comes too late
    [Documentation]    Pool pool-* became ready * after preload of the pool; 10 ms are allowed.
    ...    Pool pool-*: phase ready, ready True, live True, desired running
    ...    Last error: none
    ...    Latest events (preload of the pool at *): * pool_ready *
    Given a pool whose engine needs 100 ms to load
    When the pool is preloaded
    Then the pool becomes ready within 10 ms

Phases in another order
    [Documentation]    The phases of the pool should be preflight, loading, ready; they are preflight, starting, loading, ready.
    ...    Pool pool-*: phase ready, *
    Given a ready pool
    Then the pool goes through preflight, loading, ready

An answer other than expected
    [Documentation]    The call should be refused with POOL_DRAINING, but: *POST /v2/pools/pool-*/leases: 201 after * ms: *lease_id*
    Given a ready pool
    When a caller asks for a lease on the pool
    Then it is refused with 409 POOL_DRAINING

A refusal that no step looks at
    [Documentation]    Teardown failed: A call was refused and no step looked at it:
    ...    *POST /v2/pools/pool-*/leases: 409 after * ms: POOL_UNREADY *(hint: *)
    Given a pool
    When a caller asks for a lease on the pool
    Then the pool is in phase stopped

A process that is left behind
    [Documentation]    Teardown failed: Process * of a pool of this scenario is left: sleep 600
    Given a pool
    Then a process that says it is of the pool is started

A fault in the daemon's log
    [Documentation]    Teardown failed: The daemon logged an unhandled fault: {"event": "a bug", "exception": "Traceback *
    Given a pool
    Then the daemon logs a traceback

A teardown of its own hides nothing
    [Documentation]    Expected pool pool-* to show phase 'ready' within 0 ms, but not so after * and 1 look. Last seen: phase 'stopped'
    ...    Pool pool-*: phase stopped, *
    Given a pool
    Then the pool shows phase ready
    [Teardown]    Log    the scenario's own teardown

A daemon that does not start
    [Documentation]    The daemon exited with code 2 instead of serving. *max_parallel_loads*
    Given a daemon of its own    server.max_parallel_loads=many
    When the daemon is started

The shared daemon dies
    [Documentation]    Teardown failed: The shared daemon has died. Its last lines: *
    Given a ready pool
    Then the shared daemon is killed

The next scenario has a daemon again
    Given a ready pool
    Then the pool is ready


*** Keywords ***
A process that says it is of the pool is started
    ${pool} =    Get Pool Id
    Start Process    sleep    600    env:POOL_MANAGERD_POOL=${pool}

The daemon logs a traceback
    ${log} =    Get Daemon    log
    Append To File    ${log}    {"event": "a bug", "exception": "Traceback (most recent call last)"}\n

The shared daemon is killed
    ${pid} =    Get Daemon    pid
    Evaluate    os.kill(${pid}, signal.SIGKILL)    modules=os, signal
    Process Should Be Gone    ${pid}    within=5 s
