*** Settings ***
Documentation    Everything that happens is one event, of the kind that belongs to it.

Resource         PoolManagerResources/scenario.resource
Library          Collections

Test Tags        api    OC-POOL-3030


*** Variables ***
&{QUICK}    restart.initial_ms=100 ms    restart.floor_ms=50 ms


*** Test Cases ***
Each change of a replica's phase is one event of kind phase
    [Tags]    B-EVENT-001    OC-POOL-3003
    Given a pool    &{QUICK}
    And a watcher follows the events
    When the pool is preloaded
    Then the pool becomes ready within 3 s
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the pool becomes ready within 4 s
    When the pool is stopped
    Then the watcher was sent each change once, each from where the last one led
    ...    preflight    starting    loading    ready    backoff    preflight    starting    loading    ready
    ...    draining    stopping    stopped
    And each has exactly the fields of an event

A watch begins with the present revision, and then gives new events only
    [Tags]    B-EVENT-007
    Given a ready pool
    And a watcher follows the events
    And its first frame has come
    When 1 lease is held on the pool
    Then the watcher's first frame is of kind daemon with the revision before the lease
    And its second frame is the lease
    And each frame's id is the revision, its event the kind, and its data the event

A watch over gRPC begins with the present revision, too
    [Tags]    B-EVENT-007
    Given a ready pool
    And a watcher follows the events    protocol=gRPC
    And its first frame has come
    When 1 lease is held on the pool
    Then the watcher's first frame is of kind daemon with the revision before the lease
    And its second frame is the lease

A run of all that can happen shows the kind that belongs to each
    [Tags]    B-EVENT-008
    Given a daemon of its own
    And a pool    slots=2    &{QUICK}
    And a model file other.gguf
    When the pool is preloaded
    Then the pool becomes ready within 3 s
    And there was an event of kind preload    to=ready
    And there was an event of kind pool_ready
    When a lease is held on the pool for 100 ms
    Then there was an event of kind lease    details.action=granted
    When the pool is reloaded to other.gguf
    Then there was an event of kind reload    to=done
    When XID 43 is reported for the GPU
    Then there was an event of kind xid of the daemon    details.xid=43
    When the config is reloaded
    Then there was an event of kind config of the daemon
    When the engine is killed
    Then there was an event of kind phase    code=ENGINE_EXITED
    And there was an event of kind restart_scheduled
    And the pool becomes ready within 4 s
    When the daemon is killed and started again
    Then there was an event of kind adopted
    When the pool is stopped
    Then there was an event of kind drain    to=~drained|forced
    And every event is of a kind that the API knows

A breaker that opens and a lost GPU have their kinds
    [Tags]    B-EVENT-008
    Given a GPU with 8 GiB
    And a pool whose engine exits with code 3 while loading    breaker.failures=1    &{QUICK}
    When the pool is preloaded
    Then an event of kind breaker comes within 3 s    to=open
    When the GPU is lost
    Then an event of kind device of the daemon comes within 1 s    to=lost

A lease's fate is its event's action
    [Tags]    B-EVENT-009
    Given a ready pool    slots=1
    When a caller asks for a lease on the pool
    Then an event of kind lease comes within 1 s    details.action=granted
    And it names the lease
    When the lease is renewed
    Then an event of kind lease comes within 1 s    details.action=renewed
    When another caller asks for a lease in vain
    Then an event of kind lease comes within 1 s    details.action=refused    code=NO_FREE_SLOT
    When the lease is released
    Then an event of kind lease comes within 1 s    details.action=released
    And it names the lease

A lease that nobody releases ends with an event, too
    [Tags]    B-EVENT-009
    Given a ready pool    slots=2
    When a caller asks for a lease on the pool    ttl=150 ms
    Then an event of kind lease comes within 2 s    details.action=expired
    And it names the lease
    When a caller asks for a lease on the pool
    And the pool is stopped
    Then an event of kind lease comes within 2 s    details.action=forced
    And it names the lease

Readiness events come exactly where the pool's ready changes
    [Tags]    B-EVENT-010    OC-POOL-3001
    Given a pool    &{QUICK}
    And the status is watched
    When the pool is preloaded
    Then the pool becomes ready within 3 s
    When the engine is killed
    Then the pool becomes unready within 1 s
    And the pool becomes ready within 4 s
    When the pool is stopped
    And the pool is preloaded
    Then the pool becomes ready within 4 s
    And the two kinds alternate, and each of more than 20 statuses fits the one before it

A pool stays ready as long as enough replicas are
    [Tags]    B-EVENT-010    OC-POOL-3001
    Given a ready pool    replicas=2    restart.initial_ms=300 ms    restart.floor_ms=50 ms
    And both replicas are ready
    And the status is watched
    When engine r0 is killed
    Then an event of kind phase comes within 1 s    replica_id=r0    from=ready
    And no event of kind pool_unready comes within 100 ms
    When engine r1 is killed
    Then an event of kind pool_unready comes within 1 s
    And the pool becomes ready within 4 s
    And the two kinds alternate, and each of more than 10 statuses fits the one before it

The death of an engine is announced at once, with its cause
    [Tags]    B-EVENT-011    OC-POOL-3010
    Given a ready pool    restart.initial_ms=2 s
    When the engine is killed by SIGSEGV
    Then an event of kind phase comes within 150 ms    from=ready    code=ENGINE_EXITED
    And the event's details.cause is SIGSEGV

A cause that is found out later is a second event of the same replica
    [Documentation]    The driver's message about a fault of the engine comes when the engine has died of it already.
    [Tags]    B-EVENT-011    OC-POOL-3010
    Given a GPU with 8 GiB
    And a ready pool    restart.initial_ms=2 s
    When the engine is killed by SIGABRT
    Then an event of kind phase comes within 150 ms    from=ready    to=backoff    code=ENGINE_EXITED
    When XID 31 is reported for the GPU
    Then an event of kind phase comes within 1 s    replica_id=r0    from=backoff    to=backoff    code=DRIVER_ERROR
    And the event's details.cause is driver_error
    And the last error of the pool is DRIVER_ERROR


*** Keywords ***
The watcher was sent each change once, each from where the last one led
    [Arguments]    @{phases}
    ${events} =    Get Watched Events
    ${id} =    Get Pool Id
    ${changes} =    Evaluate    [one for one in $events if one['kind'] == 'phase' and one['pool_id'] == '${id}']
    Should Be Equal    ${{ [one['to'] for one in $changes] }}    ${phases}
    Should Be Equal    ${{ [one['from'] for one in $changes] }}    ${{ ['stopped', *$phases[:-1]] }}
    VAR    ${CHANGES} =    ${changes}    scope=TEST

Each has exactly the fields of an event
    FOR    ${change}    IN    @{CHANGES}
        Event Should Have Exactly Its Fields    ${change}
        Should Be Equal    ${change}[replica_id]    r0
    END

The watcher's first frame is of kind daemon with the revision before the lease
    ${lease} =    Wait For Event    the pool    kind=lease
    ${events} =    Get Watched Events    at_least=2
    Should Be Equal    ${events}[0][kind]    daemon
    Should Be Equal    ${events}[0][details][revision]    ${events}[0][revision]
    Should Be Equal    ${events}[0][revision]    ${{ $lease["revision"] - 1 }}

Its first frame has come
    Get Watched Events    at_least=1

Its second frame is the lease
    ${lease} =    Get Events    the pool    kind=lease
    ${events} =    Get Watched Events
    Should Be Equal    ${events}[1]    ${lease}[0]

Each frame's id is the revision, its event the kind, and its data the event
    ${frames} =    Get Watched Frames
    Should Not Be Empty    ${frames}
    FOR    ${frame}    IN    @{frames}
        Should Be Equal As Strings    ${frame}[id]    ${frame}[data][revision]
        Should Be Equal    ${frame}[event]    ${frame}[data][kind]
        Event Should Have Exactly Its Fields    ${frame}[data]
    END

There was an event of kind ${kind:\w+}
    [Arguments]    &{fields}
    Wait For Event    the pool    within=5 s    kind=${kind}    &{fields}

There was an event of kind ${kind:\w+} of the daemon
    [Arguments]    &{fields}
    Wait For Event    the daemon    within=5 s    kind=${kind}    &{fields}

Every event is of a kind that the API knows
    ${events} =    Get Events
    Should Be True    len($events) > 30
    FOR    ${event}    IN    @{events}
        Event Should Have Exactly Its Fields    ${event}
    END

It names the lease
    ${id} =    Get Lease    lease_id
    Get Event    details.lease_id    ==    ${id}

Another caller asks for a lease in vain
    Acquire Lease    the pool
    Answer Should Be    NO_FREE_SLOT

The two kinds alternate, and each of more than ${count} statuses fits the one before it
    ${statuses} =    Readiness Events Should Fit The Statuses
    Should Be True    ${statuses} > ${count}

Both replicas are ready
    Wait Until Expression    all(one['ready'] for one in status['replicas'])    within=3 s
