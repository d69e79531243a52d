*** Settings ***
Documentation    The stand-in engine does what a scenario tells it, and the daemon shows what it would show for a real one.

Resource         PoolManagerResources/scenario.resource

Test Tags        harness    B-HARNESS-015


*** Test Cases ***
What it is told while it is ready
    [Template]    A ready engine ${does} and the pool is unready for ${code} with ${field} ${value}
    hangs    HEALTH_CHECK_FAILED    retriable    true
    exits with code 3    ENGINE_EXITED    details.exit_code    3
    exits with code 0    ENGINE_EXITED    details.exit_code    0
    dies of SIGSEGV    ENGINE_EXITED    details.signal    SIGSEGV
    dies of SIGKILL    ENGINE_EXITED    details.signal    SIGKILL
    runs out of memory    OUT_OF_MEMORY    retriable    true

What it is told before it starts
    [Template]    An engine that ${does} fails to load with ${code}
    hangs    READINESS_TIMEOUT
    never becomes ready    READINESS_TIMEOUT
    exits with code 3 while loading    ENGINE_EXITED
    dies of SIGSEGV while loading    ENGINE_EXITED
    runs out of memory while loading    OUT_OF_MEMORY
    offloads to the CPU    CPU_SPILLOVER

It uses a wrong device
    Given a GPU named other with 8 GiB
    And a GPU named its-own with 8 GiB
    And a pool on GPU its-own    restart.initial_ms=30 s
    And the engine uses GPU other outside its mask
    When the pool is preloaded
    Then the preload fails within 5 s with CROSS_MASK_SPILLOVER
    And the pool shows ready false

It loads slowly
    Given a pool
    And the engine needs 500 ms to load
    When the pool is preloaded
    Then the pool becomes ready within 5 s
    And it has been loading for at least 450 ms

It logs a line
    Given a ready pool
    When the engine logs "all is well"
    Then the log of the engine has "all is well" within 2 s
    And the pool is ready

It ignores SIGTERM
    Given a ready pool    stop.grace_ms=200 ms
    And the engine ignores SIGTERM
    When the pool is stopped
    Then it is accepted
    And an event of kind phase comes within 5 s    to=stopped
    And the event's details.forced is true
    And the event's details.signal is SIGKILL


*** Keywords ***
A ready engine ${does} and the pool is unready for ${code} with ${field} ${value}
    Given a ready pool of its own for this row
    When the engine ${does}
    Then the pool becomes unready within 5 s
    And the event's code is ${code}
    And the last error of the pool is ${code}
    And the error's ${field} is ${value}

An engine that ${does} fails to load with ${code}
    Given a pool of its own for this row
    And the engine ${does}
    When the pool is preloaded
    Then the preload fails within 5 s with ${code}
    And the pool shows ready false

A ready pool of its own for this row
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define Pool    ${name}    liveness.interval_ms=50 ms    liveness.probe_timeout_ms=200 ms    restart.initial_ms=30 s
    Preload Pool    ${name}    wait=10 s
    Wait Until Pool Is Ready

A pool of its own for this row
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define Pool    ${name}    readiness.timeout_ms=400 ms    restart.initial_ms=30 s

It has been loading for at least ${time}
    Time Between Phases    loading    ready    >=    ${time}
