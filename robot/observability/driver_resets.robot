*** Settings ***
Documentation    An XID counts as a driver reset if its class, or the recovery action that NVML names, calls for one.

Resource         PoolManagerResources/scenario.resource

Test Tags        observability    OC-POOL-3010    OC-POOL-3030    B-METRICS-005
Test Template    An XID raises the driver resets of its GPU


*** Test Cases ***                       XID    CLASS              RISE
A GPU that fell off the bus              79     lost               1
A GPU that must be reset                 119    reset              1
A double-bit ECC error                   48     reset              1
The clean-up after a killed process      45     ignore             0
A page that was retired                  63     ignore             0
A fault of an application                31     application        0
An XID that nobody knows                 999    unknown            0
Nothing to recover                       154    recovery_action    0    recovery_action=0
A reset as the recovery                  154    recovery_action    1    recovery_action=1
A reboot as the recovery                 154    recovery_action    1    recovery_action=2


*** Keywords ***
An XID raises the driver resets of its GPU
    [Documentation]    And those of no other. ``changes`` are what NVML says of the GPU besides.
    [Arguments]    ${xid}    ${class}    ${rise}    &{changes}
    Given a GPU named other with 8 GiB
    And a GPU named struck with 8 GiB
    And a running daemon
    And NVML says of GPU struck    &{changes}
    And what is counted of both GPUs is noted    ${class}
    When XID ${xid} is reported for GPU struck
    Then an event of kind xid of the daemon comes within 5 s    details.xid=${xid}    details.xid_class=${class}
    And the metric xid_total of GPU struck has risen by 1    xid_class=${class}
    And the metric driver_reset_total of GPU struck has risen by ${rise}
    And the metric driver_reset_total of GPU other has risen by 0

What is counted of both GPUs is noted
    [Arguments]    ${class}
    The metric driver_reset_total of GPU struck is noted
    The metric driver_reset_total of GPU other is noted
    The metric xid_total of GPU struck is noted    xid_class=${class}

NVML says of ${gpu}
    [Documentation]    And the daemon has seen it.
    [Arguments]    &{changes}
    IF    $changes
        Change Gpu    ${gpu}    &{changes}
        Get Devices
    END
