*** Settings ***
Documentation    What spilled over would spill over again: it stays failed until its operator acts.

Resource         PoolManagerResources/scenario.resource

Test Tags        preflight    OC-POOL-3012


*** Variables ***
&{AT_ONCE}    restart.initial_ms=50 ms    restart.floor_ms=50 ms    restart.max_ms=100 ms


*** Test Cases ***
After a spillover no start is tried until the operator preloads again
    [Tags]    B-PREFLIGHT-022
    [Template]    A pool whose engine ${spills} stays failed with ${code} until it is preloaded again
    offloads to the CPU    CPU_SPILLOVER
    holds no GPU memory    CPU_SPILLOVER
    uses GPU other outside its mask    CROSS_MASK_SPILLOVER

After a spillover a change of the config is tried by itself
    [Tags]    B-PREFLIGHT-022
    Given a pool    args=["-ngl", "0"]    &{AT_ONCE}
    When the pool is preloaded
    Then the preload fails within 1 s with CPU_SPILLOVER
    And the pool stays in phase failed for 400 ms
    When the pool is changed in the config    args=["-ngl", "all"]
    And the config is reloaded
    Then it is accepted
    And the pool becomes ready within 5 s
    And the pool shows    restart_count 0    last_error null

A config reload that changes nothing of the pool is no reason to try again
    [Tags]    B-PREFLIGHT-022
    Given a pool    args=["-ngl", "0"]    &{AT_ONCE}
    When the pool is preloaded
    Then the preload fails within 1 s with CPU_SPILLOVER
    When the config is reloaded
    Then it is accepted
    And the pool stays in phase failed for 300 ms
    And the pool goes through preflight, failed


*** Keywords ***
A pool whose engine ${spills} stays failed with ${code} until it is preloaded again
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    A Pool Whose Engine Does    ${spills}    ${name}
    Preload Pool    ${name}
    It Should Fail    ${name}    ${code}
    It Should Stay Failed    ${name}
    Engine Behaves Well    ${name}
    It Should Stay Failed    ${name}
    Preload Pool    ${name}
    Pool Should Become    ${name}    ready    within=5 s

It Should Stay Failed
    [Arguments]    ${name}
    Pool Should Stay    ${name}    in phase failed    400 ms
    Get Event Count    ${name}    should be    ${1}    kind=phase    to=starting
    Get Event Count    ${name}    should be    ${0}    kind=restart_scheduled
    Pool Should Show    ${name}    next_restart_at null    restart_count 0

A Pool Whose Engine Does
    [Arguments]    ${behaviour}    ${name}
    IF    'other' in '${behaviour}'    Define GPU    other    8 GiB
    Define GPU    ${name}    8 GiB
    Define Pool    ${name}    gpu=${name}    vram_bytes=2 GiB    &{AT_ONCE}
    Engine Does    ${behaviour}    ${name}

It Should Fail
    [Arguments]    ${name}    ${code}
    Load Should Fail    ${name}    ${code}    within=3 s
    Pool Should Become    ${name}    in phase failed    within=5 s
    Last Error Should Be    ${name}    ${code}
