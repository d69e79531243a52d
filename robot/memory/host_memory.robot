*** Settings ***
Documentation       Host memory is checked like the GPUs': of the host, or of the cgroup that the daemon runs under.
Resource            PoolManagerResources/scenario.resource
Test Tags           memory    OC-POOL-3002


*** Test Cases ***
A need of host memory above the free memory is refused, with required and free bytes
    [Tags]    B-MEM-002    B-MEM-003
    Given a pool    ram_bytes=900000 GiB
    And the daemon knows the pool
    When the pool is preloaded
    Then the preload fails within 100 ms with INSUFFICIENT_RAM
    And the error names "host memory", 900000 GiB required
    And the error's details.required_bytes is 966367641600000
    And the error names the free memory as the kernel does
    And no engine process was started

What loading engines were promised is not free for others
    [Tags]    B-MEM-002
    Given two pools that each need more than half of the free host memory
    And pool one is preloaded
    And pool one reaches phase loading within 3 s
    When pool two is preloaded
    Then the preload of pool two fails within 1 s with INSUFFICIENT_RAM
    And no engine process of pool two was started

Under a cgroup's memory limit that limit bounds what fits, and is named
    [Tags]    B-MEM-015
    Given a daemon of its own
    And a pool named small    ram_bytes=64 MiB
    And a pool named large    ram_bytes=1 GiB
    And the daemon runs under a memory limit of 512 MiB
    When pool large is preloaded
    Then the preload of pool large fails within 1 s with INSUFFICIENT_RAM
    And the error names 1 GiB required, 512 MiB
    And the error names the limiting cgroup
    And no engine process of pool large was started
    When pool small is preloaded
    Then pool small becomes ready within 5 s
    When the memory limit is raised to 4 GiB
    Then pool large becomes ready within 5 s


*** Keywords ***
The daemon knows the pool
    Get Pool

The error names the free memory as the kernel does
    ${free} =    Error Field    details.free_bytes
    ${now} =    Evaluate    psutil.virtual_memory().available
    Should Be True    0.5 * ${now} < ${free} < 1.5 * ${now}

Two pools that each need more than half of the free host memory
    ${half} =    Evaluate    int(psutil.virtual_memory().available * 0.6)
    Define Pool    one    ram_bytes=${half}    load_ms=30 s
    Define Pool    two    ram_bytes=${half}

The daemon runs under a memory limit of ${limit:\S+ \S+}
    Limit Daemon Memory    ${limit}

The memory limit is raised to ${limit:\S+ \S+}
    Limit Daemon Memory    ${limit}

The error names the limiting cgroup
    ${group} =    Error Field    details.cgroup
    Should Contain    ${group}    pool-managerd-bdd
    Error Should Name    "${group}"
