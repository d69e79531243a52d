*** Settings ***
Documentation       Every way to end has a name, and is known at once on every surface.
Resource            PoolManagerResources/scenario.resource
Test Tags           supervision


*** Variables ***
# The first restart comes late, so that what follows the end can be looked at.
&{QUIET}        restart.initial_ms=30 s


*** Test Cases ***
An end is noticed at once, long before the next health check
    [Tags]    B-SUPER-001    OC-POOL-3010
    Given a ready pool    liveness.interval_ms=60 s    &{QUIET}
    When the engine exits with code 3
    Then the pool becomes unready within 100 ms
    And an event of kind phase comes within 1 s    to=backoff
    And the event's details.exit_code is 3
    And the event's code is ENGINE_EXITED

Each way to end has its own cause
    [Tags]    B-SUPER-004    B-SUPER-005    B-SUPER-007    OC-POOL-3003    OC-POOL-3010    OC-POOL-3030
    [Template]    An engine that ${ends} is reported with ${code}, cause ${cause} and ${detail}
    exits with code 1    ENGINE_EXITED    exit_code    exit_code 1
    exits with code 134    ENGINE_EXITED    exit_code    exit_code 134
    dies of SIGSEGV    ENGINE_EXITED    SIGSEGV    signal SIGSEGV
    dies of SIGABRT    ENGINE_EXITED    SIGABRT    signal SIGABRT
    dies of SIGKILL    ENGINE_EXITED    SIGKILL    signal SIGKILL
    dies of SIGBUS    ENGINE_EXITED    SIGBUS    signal SIGBUS

Running out of GPU memory is critical
    [Tags]    B-SUPER-009    OC-POOL-3010    OC-POOL-3030
    Given a ready pool    &{QUIET}
    When the engine runs out of memory
    Then the pool becomes unready within 1 s
    And the last error of the pool is OUT_OF_MEMORY
    And the error's details.cause is out_of_memory
    And the daemon logs    level=critical    pool=the pool    code=OUT_OF_MEMORY

An engine that its control group's OOM killer ends ran out of memory
    [Tags]    B-SUPER-047    OC-POOL-3010    OC-POOL-3030
    Given a pool whose engine may have 48 MiB of host memory and takes 200 MiB
    When the pool is preloaded
    Then the preload fails within 5 s with OUT_OF_MEMORY
    And the last error of the pool is OUT_OF_MEMORY
    And the error's details.cause is out_of_memory
    And the error's details.signal is SIGKILL
    And the daemon logs    level=critical    pool=the pool    code=OUT_OF_MEMORY

An exit with code 0 that nobody asked for is no failure, and no reason to start again
    [Tags]    B-SUPER-006    OC-POOL-3011
    Given a ready pool    restart.initial_ms=50 ms    restart.floor_ms=50 ms
    When the engine exits with code 0
    Then the pool reaches phase stopped within 100 ms
    And the last error of the pool is ENGINE_EXITED
    And the error's details.exit_code is 0
    And the daemon logs    level=warning    pool=the pool    code=ENGINE_EXITED
    And the pool stays in phase stopped for 400 ms
    And no event of kind restart_scheduled comes within 0 ms
    And the pool shows    desired running    live false    ready false    restart_count 0    breaker.failures 0    next_restart_at null
    When a caller sends GET /ready
    Then it answers 503
    When the pool is preloaded
    Then the pool becomes ready within 5 s
    And the pool shows    restart_count 0    last_error null

With on_exit_zero = "restart" it is started again by itself
    [Tags]    B-SUPER-048    OC-POOL-3011
    Given a ready pool    restart.on_exit_zero=restart    restart.initial_ms=100 ms    restart.floor_ms=50 ms
    And the pid of the engine is noted
    When the engine exits with code 0
    Then the pool becomes unready within 100 ms
    And an event of kind restart_scheduled comes within 1 s
    And the pool becomes ready within 5 s
    And the engine is another process
    And the pool shows    restart_count 1    breaker.failures 0


*** Keywords ***
An engine that ${ends} is reported with ${code}, cause ${cause} and ${detail}
    ${pool} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    Define Pool    ${pool}    version=7.1    &{QUIET}
    Make Ready    pool ${pool}
    Engine Does    ${ends}    engine r0 of pool ${pool}
    Wait For Event    ${pool}    within=1 s    kind=phase    from=ready    code=${code}
    Get Event    details.cause    ==    ${cause}
    Pool Should Become    ${pool}    unready    within=1 s
    Pool Should Show    ${pool}    phase backoff    live false    ready false    last_error.code ${code}
    ...    last_error.details.cause ${cause}    last_error.details.${detail}
    The log tells of it    ${pool}    ${code}    ${cause}    ${{ $detail.split() }}

The log tells of it
    [Arguments]    ${pool}    ${code}    ${cause}    ${detail}
    ${record} =    Daemon Log Should Have    pool=${pool}    code=${code}    kind=phase    replica_id=r0
    Should Be Equal    ${record}[engine_version]    7.1
    Should Be Equal    ${record}[cause]    ${cause}
    Should Be Equal As Strings    ${record}[${detail}[0]]    ${detail}[1]
    Should Be True    0 < ${record}[uptime_seconds] < 60

A pool whose engine may have ${limit:\S+ \S+} of host memory and takes ${size:\S+ \S+}
    [Documentation]    In a control group of its own, whose limit the kernel enforces.
    ${program} =    Create Confined Program    ${limit}    ram_bytes=${size}
    Create GGUF Model    tiny.gguf
    Define Pool    pool    binary=${program}    engine=llamacpp    model=models/tiny.gguf    &{QUIET}
