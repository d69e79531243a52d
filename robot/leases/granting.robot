*** Settings ***
Documentation       Who gets a lease, and who is told why not.
Resource            PoolManagerResources/scenario.resource
Test Tags           leases


*** Test Cases ***
A ready pool grants a lease
    [Tags]    B-LEASE-001    OC-POOL-3001
    Given a ready pool
    When a caller asks for a lease on the pool    holder=tester
    Then it answers 201
    And the answer's replica_id is r0
    And the answer's url is the running engine's
    And the pool shows    active_leases 1    slots_free 3

A pool that nobody has loaded grants none
    [Tags]    B-LEASE-001    OC-POOL-3001
    Given a pool
    When a caller asks for a lease on the pool
    Then it is refused with 409 POOL_UNREADY
    And the error names the pool and stopped
    And the error's details.phase is stopped
    And the error's details.last_error_code is null

A pool that is loading grants none
    [Tags]    B-LEASE-001    OC-POOL-3001
    Given a pool whose engine needs 5 s to load
    And the pool is preloaded
    And the pool is in phase loading
    When a caller asks for a lease on the pool over gRPC
    Then it is refused with FAILED_PRECONDITION POOL_UNREADY
    And the error names the pool and loading

A pool whose engine crashed grants none and says of what
    [Tags]    B-LEASE-001    OC-POOL-3001
    Given a ready pool    restart.initial_ms=20 s    restart.max_ms=30 s
    And the engine is killed by SIGSEGV
    And the pool reaches phase backoff within 2 s
    When a caller asks for a lease on the pool
    Then it is refused with 409 POOL_UNREADY
    And the error names the pool, backoff and ENGINE_EXITED
    And the error's details.phase is backoff
    And the error's details.last_error_code is ENGINE_EXITED

A pool that failed for good grants none and says of what
    [Tags]    B-LEASE-001    OC-POOL-3001
    Given a pool    model=models/nowhere.gguf
    And a caller waits 5 s for the preload of the pool
    And it is refused with 404 MODEL_NOT_FOUND
    When a caller asks for a lease on the pool
    Then it is refused with 409 POOL_UNREADY
    And the error names the pool, failed and MODEL_NOT_FOUND

Nobody is let in before a slow engine is ready, and the first one right after
    [Tags]    B-LEASE-001    OC-POOL-3001
    Given a pool whose engine needs 300 ms to load    slots=64
    And the pool is preloaded
    When callers ask for a lease on the pool until one is granted
    Then it was granted after the pool was ready and all before got POOL_UNREADY

Slots are all there is
    [Tags]    B-LEASE-002
    Given a ready pool    slots=2
    And 2 leases are held on the pool
    And the pool shows    slots_free 0    slots_total 2
    When a caller asks for a lease on the pool
    Then it is refused with 429 NO_FREE_SLOT
    When the lease is released
    And a caller asks for a lease on the pool
    Then it answers 201
    And the pool shows    slots_free 0    active_leases 2

Fifty callers share four slots
    [Tags]    B-LEASE-003
    Given a ready pool    slots=4
    When 50 callers ask for a lease on the pool at once
    Then the callers get 4 granted and 46 NO_FREE_SLOT
    And all leases have ids of their own
    And the pool shows    slots_free 0    active_leases 4
    And the daemon lists exactly the leases that are held

Replicas share the leases evenly
    [Tags]    B-LEASE-010
    Given a ready pool    replicas=3    slots=4
    And Wait Until Expression    all(one['ready'] for one in status['replicas'])    within=10 s
    When leases are granted until no slot is free, their spread never exceeds one
    Then the pool shows    active_leases 12    slots_free 0


*** Keywords ***
The answer's url is the running engine's
    [Documentation]    As in the handoff file.
    ${url} =    Get Handoff    url
    Answer Field    url    ==    ${url}

Callers ask for a lease on ${pool:the pool|pool [\w-]+} until one is granted
    [Documentation]    Each asks again as soon as it was refused.
    Start Lease Load    ${pool}    callers=2    hold=5 ms

It was granted after the pool was ready and all before got ${code}
    [Documentation]    By the revisions and times of the events.
    Lease Load Should Get Only    granted    ${code}    since_answer=False    at_least=10
    Lease Load Should Have Got    ${code}    at_least=5
    ${ready} =    Get Events    the pool    kind=pool_ready
    ${leases} =    Get Events    the pool    kind=lease    details.action=granted
    Should Be True    ${ready}[0][revision] < ${leases}[0][revision]

All leases have ids of their own
    [Documentation]    No id is given twice.
    ${leases} =    Get Leases
    ${ids} =    Evaluate    {lease['lease_id'] for lease in $leases}
    Length Should Be    ${ids}    4

Leases are granted until no slot is free, their spread never exceeds one
    [Documentation]    The numbers in use on any two replicas are looked at after each grant.
    FOR    ${index}    IN RANGE    12
        Take Leases    1
        ${leases} =    Get Leases
        ${replicas} =    Evaluate    [lease['replica_id'] for lease in $leases]
        ${used} =    Evaluate    list(map($replicas.count, ('r0', 'r1', 'r2')))
        Should Be True    max($used) - min($used) <= 1    After ${index} leases the replicas carry ${used}.
    END
