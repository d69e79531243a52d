*** Settings ***
Documentation    grpc.health.v1: one name for the daemon, one for each pool.

Resource         PoolManagerResources/scenario.resource

Test Tags        api    OC-POOL-3001


*** Test Cases ***
The daemon serves, a pool only while it is ready
    [Tags]    B-GRPC-003
    Given a pool whose engine needs 400 ms to load
    Then gRPC health of the daemon is SERVING
    And gRPC health of the pool is NOT_SERVING
    When the pool is preloaded
    Then the pool reaches phase loading within 2 s
    And gRPC health of the pool is NOT_SERVING
    And the pool becomes ready within 3 s
    And gRPC health of the pool is SERVING
    When the pool is stopped
    Then gRPC health of the pool is NOT_SERVING
    And gRPC health of the daemon is SERVING

A watch is pushed what changes, without a new call
    [Tags]    B-GRPC-004
    Given a ready pool    restart.initial_ms=100 ms    restart.floor_ms=50 ms
    And somebody watches gRPC health of the pool
    When the engine is killed
    Then the watch is pushed SERVING, NOT_SERVING and SERVING within 4 s

A pool of two replicas serves until its last one dies
    [Tags]    B-GRPC-004
    Given a ready pool    replicas=2    restart.initial_ms=900 ms    restart.floor_ms=50 ms
    And both replicas are ready
    And somebody watches gRPC health of the pool
    When engine r0 is killed
    Then engine r0 is noticed to be gone
    And the watch is pushed SERVING within 0 ms
    When engine r1 is killed
    Then the watch is pushed SERVING, NOT_SERVING and SERVING within 4 s


*** Keywords ***
gRPC health of the daemon is ${status}
    Get Grpc Health    ${EMPTY}    ==    ${status}

gRPC health of the pool is ${status}
    Get Grpc Health    the pool    ==    ${status}

Somebody watches gRPC health of the pool
    Start Watching Grpc Health    the pool

The watch is pushed ${statuses} within ${time}
    @{words} =    Evaluate    [word for word in re.split(r',\\s*|\\s+and\\s+', $statuses)]    modules=re
    Watched Grpc Health Should Be    @{words}    within=${time}

Both replicas are ready
    Wait Until Expression    all(one['ready'] for one in status['replicas'])    within=3 s

Engine r0 is noticed to be gone
    Wait For Event    the pool    within=1 s    kind=phase    replica_id=r0    from=ready
