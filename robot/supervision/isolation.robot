*** Settings ***
Documentation       What goes wrong in one place stays there.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision


*** Variables ***
&{LOOPING}      restart.initial_ms=10 ms    restart.floor_ms=10 ms    restart.factor=1    restart.rate=1000
...             restart.storm_open=1000    breaker.failures=1000


*** Test Cases ***
A pool in a crash loop changes nothing of another, and the daemon answers at once
    [Tags]    B-SUPER-043    OC-POOL-3011
    Given a ready pool named good    liveness.interval_ms=100 ms
    And a pool named bad whose engine exits with code 3 while loading    &{LOOPING}
    And the status of pool good is noted
    And the metric preload_success_total of pool good is noted
    And callers ask for both pools, and for all of them, all the time
    When pool bad is preloaded
    Then pool bad is restarted 12 times within 20 s
    And all callers were answered, each within 200 ms
    And the status of pool good is as noted but for revision
    And pool good has not changed its phase, and was probed in time
    And the metric restart_total of pool good is 0
    And the metric preload_success_total of pool good has risen by 0
    And the metric restart_storm_total of pool good is 0

The crash of one of several replicas restarts only that one
    [Tags]    B-REPLICA-004    OC-POOL-3010
    Given a ready pool    replicas=3    slots=1    restart.initial_ms=500 ms    restart.jitter=0
    And engine r0 shows    ready true    within=5 s
    And engine r1 shows    ready true    within=5 s
    And engine r2 shows    ready true    within=5 s
    And 3 leases are held on the pool    ttl=60 s
    And the pid of engine r1 is noted
    When engine r0 is killed
    Then engine r0 shows    phase backoff    breaker.failures 1    within=1 s
    And the leases on r1 and r2 go on
    And the pool shows    ready true    slots_total 2    active_leases 2
    And engine r0 shows    ready true    restart_count 1    within=5 s
    And engine r1 shows    ready true    restart_count 0    breaker.failures 0
    And engine r2 shows    ready true    restart_count 0    breaker.failures 0
    And engine r1 is still the same process
    When a caller asks for a lease on the pool
    Then it is accepted


*** Keywords ***
Callers ask for both pools, and for all of them, all the time
    Start Calling Over And Over    GET    /v2/pools/{pool:good}    /v2/pools/{pool:bad}    /v2/pools    /health

Pool bad is restarted ${count:\d+} times within ${time}
    Wait Until Keyword Succeeds    ${time}    100 ms    Get Pool Field    bad    restart_count    >=    ${count}

All callers were answered, each within ${time}
    Callers Should Have Been Answered Within    ${time}
    Callers Should Have Got Only    200    at_least=20

Pool good has not changed its phase, and was probed in time
    Get Event Count    good    equals    0    since_act=True    kind=phase
    ${probes} =    Get Engine Requests    the engine of pool good    /health
    ${act} =    Get Events    bad    kind=preload    to=started
    VAR    ${from} =    ${{ datetime.datetime.fromisoformat($act[0]['at']).timestamp() * 1000 }}
    VAR    ${times} =    ${{ [one['at'] for one in $probes if one['at'] >= ${from}] }}
    ${gaps} =    Evaluate    [later - earlier for earlier, later in itertools.pairwise($times)]    modules=itertools
    Should Be True    max($gaps) < 400    The health checks came ${gaps} ms after each other.

The leases on r1 and r2 go on
    ${leases} =    Get Leases    the pool
    Should Be Equal    ${{ sorted(one['replica_id'] for one in $leases) }}    ${{ ['r1', 'r2'] }}
