*** Settings ***
Documentation       How many slots a pool has, and how many of them are free.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
A pool that has just become Ready has all its slots free
    [Tags]    B-REG-104
    Given a pool    slots=5
    Then the pool shows    slots_total 0    slots_free 0
    When a caller waits 5 s for the preload of the pool
    Then the pool shows    slots_total 5    slots_free 5    active_leases 0

The engine's own number of slots counts
    [Tags]    B-REG-060
    Given a ready pool whose engine claims 3 slots    slots=8
    Then the pool shows    slots_total 3    slots_free 3
    When a lease is held on the pool
    Then the pool shows    slots_total 3    slots_free 2

The config's number of slots counts where the engine tells none
    [Tags]    B-REG-060
    Given a ready pool of an engine that tells no slots    slots=6
    Then the pool shows    slots_total 6    slots_free 6
    When a lease is held on the pool
    Then the pool shows    slots_total 6    slots_free 5

Each lease takes a slot and each release gives it back
    [Tags]    B-REG-062    B-REG-060
    Given a ready pool    slots=3
    When a caller asks for a lease on the pool
    Then the pool shows    slots_free 2    active_leases 1
    When a caller asks for a lease on the pool
    Then the pool shows    slots_free 1    active_leases 2
    When a caller asks for a lease on the pool over gRPC
    Then the pool shows    slots_free 0    active_leases 3
    When the lease is released
    Then the pool shows    slots_free 1    active_leases 2
    When the lease is released over gRPC
    Then the pool shows    slots_free 2    active_leases 1
    When the lease is released
    Then the pool shows    slots_free 3    active_leases 0

The slots of a pool are those of its Ready replicas
    [Tags]    B-REG-061
    Given a ready pool    replicas=2    slots=3    restart.initial_ms=300 ms    restart.floor_ms=300 ms
    Then the pool shows    slots_total 6    within=3 s
    When engine r1 is killed
    Then the pool shows    slots_total 3    slots_free 3    ready true    within=500 ms
    And the pool shows    slots_total 6    slots_free 6    within=5 s

Free slots stay within bounds whatever callers do
    [Tags]    B-REG-063    B-REG-094
    Given a ready pool    slots=3
    And the status is watched
    When 6 callers take, release and let expire leases of the pool for 700 ms
    Then the active leases of the pool are those granted and neither released nor expired
    And every status had 0 <= status['slots_free'] <= status['slots_total'] and status['active_leases'] >= 0

More leases than slots leave none free, and not less than none
    [Tags]    B-REG-064
    Given a model file other.gguf
    And a ready pool    replicas=2    min_ready=1    slots=2
    And the pool shows    slots_total 4    within=3 s
    And 3 leases are held on the pool    ttl=20 s
    And the status is watched
    When the pool is reloaded to other.gguf    drain_deadline=20 s
    Then the pool shows    slots_total 2    active_leases 3    slots_free 0    within=2 s
    When all leases are released
    Then the pool shows    model other.gguf    slots_total 4    slots_free 4    within=8 s
    And every status had 0 <= status['slots_free'] <= status['slots_total']


*** Keywords ***
A ready pool of an engine that tells no slots
    [Documentation]    A command of the operator's own: the daemon knows of no way to ask it.
    [Arguments]    &{settings}
    ${program} =    Create Program    own-engine
    A pool    engine=command    command=["${program}", "--port", "{port}", "--slots", "9"]    &{settings}
    ...    vram_bytes=256 MiB
    Make Ready    the pool
