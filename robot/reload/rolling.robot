*** Settings ***
Documentation       With two or more replicas a reload rolls: one at a time, and the pool stays Ready.
Resource            PoolManagerResources/scenario.resource
Test Tags           reload    OC-POOL-3001


*** Test Cases ***
Replicas are replaced one at a time while the pool stays ready
    [Tags]    B-REPLICA-001    B-RELOAD-009    OC-POOL-3020
    Given a ready pool    replicas=3    slots=2    load_ms=100 ms
    And a model file other.gguf
    And all replicas are ready
    And what identifies the pool is noted
    And Start Sampling Surfaces    the pool    HTTP status    gRPC status
    When a caller waits 20 s for the reload of the pool to other.gguf
    Then it answers 200
    And every sample showed a ready pool with at most one replica missing, whose slots were missing too
    And every replica runs other.gguf
    And what identifies the pool is as before
    And no event of kind pool_unready comes within 0 s

Nobody who asks for a lease meanwhile is told anything but that all slots are taken
    [Tags]    B-REPLICA-002
    Given a ready pool    replicas=2    slots=2
    And a model file other.gguf
    And all replicas are ready
    And Start Lease Load    the pool    callers=4    hold=10 ms
    When a caller waits 20 s for the reload of the pool to other.gguf
    Then it answers 200
    And Lease Load Should Get Only    granted    NO_FREE_SLOT    since_answer=False    at_least=50
    And Lease Load Should Have Got    granted    at_least=20
    And every replica runs other.gguf

The first new replica's failure ends it, and the others were never touched
    [Tags]    B-REPLICA-003    B-RELOAD-009    OC-POOL-3020
    Given a ready pool    replicas=3    slots=2
    And a model file bad.gguf
    And all replicas are ready
    And what identifies the pool is noted
    And the pid of engine r0 is noted
    And the pid of engine r1 is noted
    And the pid of engine r2 is noted
    And with model bad.gguf engine r0 exits with code 3 while loading
    And Start Sampling Surfaces    the pool    HTTP status    gRPC status
    When a caller waits 20 s for the reload of the pool to bad.gguf
    Then it is refused with 502 RELOAD_FAILED
    And the error's details.restored is true
    And the error's details.cause is ENGINE_EXITED
    And every sample showed a ready pool with at most one replica missing, whose slots were missing too
    And engine r0 is another process
    And engine r1 is still the same process
    And engine r2 is still the same process
    And every replica runs small.gguf
    And what identifies the pool is as before

A later replica's failure brings the earlier ones back
    [Tags]    B-REPLICA-003    B-RELOAD-007
    Given a ready pool    replicas=2
    And a model file bad.gguf
    And all replicas are ready
    And with model bad.gguf engine r1 exits with code 3 while loading
    When a caller waits 20 s for the reload of the pool to bad.gguf
    Then it is refused with 502 RELOAD_FAILED
    And the error's details.restored is true
    And all replicas are ready
    And every replica runs small.gguf


*** Keywords ***
All replicas are ready
    [Documentation]    A pool is ready with min_ready of them already.
    Wait Until Expression    all(one['ready'] for one in status['replicas'])    within=10 s

Every replica runs ${model}
    [Documentation]    By the command lines of the processes.
    ${replicas} =    Get Pool Field    the pool    replicas
    FOR    ${replica}    IN    @{replicas}
        Get Engine Process    cmdline    validate    any(word.endswith('/${model}') for word in value)
        ...    engine=engine ${replica}[replica_id]
    END

Every sample showed a ready pool with at most one replica missing, whose slots were missing too
    [Documentation]    And at least one sample did show one missing.
    ${samples} =    Stop Sampling Surfaces
    ${statuses} =    Evaluate    [sample.value for sample in $samples]
    ${missing} =    Evaluate    [sum(not one['ready'] for one in status['replicas']) for status in $statuses]
    Should Be True    all(status['ready'] for status in $statuses)    A sample showed the pool unready.
    Should Be True    set($missing) == {0, 1}    Replicas missing in the samples: ${missing}
    Should Be True    all(s['slots_total'] == 2 * sum(one['ready'] for one in s['replicas']) for s in $statuses)
