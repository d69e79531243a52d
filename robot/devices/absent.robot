*** Settings ***
Documentation       A device that is missing when the daemon starts costs its own pool only, and only for as long as it is missing.
Resource            PoolManagerResources/scenario.resource
Test Tags           devices    OC-POOL-3012    OC-POOL-3020


*** Test Cases ***
A pool whose device is absent at the start fails alone and becomes Ready by itself once it is there
    [Tags]    B-DEVICE-017    B-DEVICE-018
    Given a daemon of its own
    And a GPU named here with 8 GiB
    And a GPU named missing with 8 GiB
    And a pool named late on GPU missing    preload=true    share_devices=true
    And a pool named half on GPUs here and missing    preload=true    tensor_split=[1, 1]    share_devices=true
    And a pool named well on GPU here    preload=true    share_devices=true
    And GPU missing is taken out
    When the daemon is started
    Then pool well is in phase ready within 10 s
    And pool late has failed with GPU_UNAVAILABLE for want of GPU missing
    And pool half has failed with GPU_UNAVAILABLE for want of GPU missing
    And pool late stays in phase failed for 300 ms
    And no engine process of pool late was started
    When GPU missing is put back
    Then pool late becomes ready within 3 s
    And pool half becomes ready within 3 s
    And pool well is ready
    And pool late shows    restart_count 0    last_error null


*** Keywords ***
Pool ${name:\w+} has failed with GPU_UNAVAILABLE for want of GPU ${gpu:\w+}
    Wait Until Pool Phase    ${name}    failed    3 s
    Last Error Should Be    ${name}    GPU_UNAVAILABLE
    Error Should Name    GPU ${gpu}
