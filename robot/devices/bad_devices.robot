*** Settings ***
Documentation       A device that an XID or NVML calls bad is left by its pools until it has proven to be well.
Resource            PoolManagerResources/scenario.resource
Resource            xid.resource
Test Tags           devices    OC-POOL-3010


*** Test Cases ***
An XID that calls for a reset takes every pool off the device until its re-test has passed
    [Tags]    B-XID-002    B-XID-005    B-XID-006    B-XID-007    OC-POOL-3030
    [Template]    XID ${xid} quarantines the device until nothing is left on it
    95
    119

A lost GPU takes its pools off until it is back, and leaves the others alone
    [Tags]    B-XID-003    B-XID-007    OC-POOL-3012    OC-POOL-3030
    [Template]    A GPU that is lost by ${how} fails its pool until it is back
    XID 79
    NVML's own word

After XID 154 the device is treated as NVML's recovery action says
    [Tags]    B-XID-010    B-XID-007
    [Template]    After XID 154 with recovery action ${action} the device is ${health} until the action is none
    1    quarantined
    4    quarantined
    2    lost

After XID 154 without anything to be done all goes on
    [Tags]    B-XID-010
    Given a GPU with 8 GiB
    And a ready pool    gpu=gpu0
    When XID 154 is reported for the GPU
    Then an event of kind xid of the daemon comes within 1 s    details.xid=154    details.recovery_action=0
    And the event's details.needs_reset is false
    And the pool stays ready for 300 ms
    And the GPU shows health ok

A quarantine survives a restart of the daemon until the re-test has passed
    [Tags]    B-XID-009
    Given a daemon of its own    server.on_shutdown=leave
    And a GPU with 8 GiB
    And a ready pool    gpu=gpu0    preload=true    &{QUICK}
    And NVML advises recovery action 1 for the GPU
    And XID 95 is reported for the GPU
    And the pool reaches phase failed within 5 s
    When the daemon is killed and started again
    Then the GPU shows health quarantined
    And the pool is in phase failed
    And the last error of the pool is GPU_UNAVAILABLE
    When NVML advises recovery action 0 for the GPU
    Then the pool becomes ready within 3 s
    And the GPU shows health ok


*** Keywords ***
NVML advises recovery action ${action:\d} for ${gpu:the GPU|GPU \S+}
    Change GPU    ${gpu}    recovery_action=${action}

XID ${xid} quarantines the device until nothing is left on it
    ${gpu}    ${other} =    A Pair Of GPUs
    Define Pool    ${gpu}-beside    keeps its GPU memory for 600 ms after its end    gpu=${gpu}    &{QUICK}
    Make Ready    pool ${gpu}-beside
    Emit XID    ${xid}    ${gpu}
    FOR    ${pool}    IN    ${gpu}    ${gpu}-beside
        Pool Should Become    ${pool}    unready    within=500 ms
        Last Error Should Be    ${pool}    DRIVER_ERROR
        Error Should Name    "XID ${xid}"    GPU ${gpu}
    END
    Get Device Field    ${gpu}    health    ==    quarantined    within=200 ms
    A Start Before The Re-Test Has Passed Fails    ${gpu}
    All Is Well Once The Memory Is Given Back    ${gpu}    ${other}

A start before the re-test has passed fails
    [Arguments]    ${gpu}
    Pool Should Become    ${gpu}    in phase failed    within=2 s
    Last Error Should Be    ${gpu}    GPU_UNAVAILABLE
    Error Should Name    "quarantined"    GPU ${gpu}
    Wait For Event    the daemon    within=5 s    kind=device    from=quarantined    to=ok
    No Engine Was Started On It While Quarantined    ${gpu}

No engine was started on it while quarantined
    [Documentation]    By the order of the events.
    [Arguments]    ${gpu}
    ${uuid} =    Get GPU Uuid    ${gpu}
    ${quarantined} =    Get Events    the daemon    kind=device    device=${uuid}    to=quarantined
    ${well} =    Get Events    the daemon    kind=device    device=${uuid}    from=quarantined    to=ok
    Length Should Be    ${quarantined}    1
    Length Should Be    ${well}    1
    FOR    ${pool}    IN    ${gpu}    ${gpu}-beside
        ${starts} =    Get Events    ${pool}    kind=phase    to=starting
        FOR    ${start}    IN    @{starts}
            Should Not Be True    $quarantined[0]['revision'] < $start['revision'] < $well[0]['revision']    ${start}
        END
    END

All is well once the memory is given back
    [Arguments]    ${gpu}    ${other}
    Wait Until Pool Is Ready    pools ${gpu} and ${gpu}-beside    3 s
    The Device Is Well And The Other Pool Undisturbed    ${gpu}    ${other}

A GPU that is lost by ${how} fails its pool until it is back
    ${gpu}    ${other} =    A Pair Of GPUs
    IF    $how == 'XID 79'    Emit XID    79    ${gpu}
    Set GPU Health    lost    ${gpu}
    It Fails Without A Restart    ${gpu}
    IF    $how == 'XID 79'    The Daemon Tells Of XID 79 Once    lost    ${gpu}    ${gpu}    ${True}
    Set GPU Health    ok    ${gpu}
    Pool Should Become    ${gpu}    ready    within=3 s
    The Device Is Well And The Other Pool Undisturbed    ${gpu}    ${other}

It fails without a restart
    [Documentation]    By whichever of the two words came first.
    [Arguments]    ${gpu}
    Wait Until Pool Phase    ${gpu}    failed    2 s
    Last Error Should Be    ${gpu}    GPU_UNAVAILABLE
    Error Should Name    GPU ${gpu}
    Get Device Field    ${gpu}    health    ==    lost
    Pool Should Stay    ${gpu}    in phase failed    500 ms
    Pool Should Show    ${gpu}    restart_count 0    next_restart_at null

After XID 154 with recovery action ${action:\d} the device is ${health:\w+} until the action is none
    ${gpu}    ${other} =    A Pair Of GPUs
    XID 154 Tells Of Recovery Action ${action}    ${gpu}
    Wait For Event    the daemon    kind=device    to=${health}    details.recovery_action=${action}
    Pool Should Become    ${gpu}    in phase failed    within=3 s
    Get Device Field    ${gpu}    health    ==    ${health}
    Pool Should Stay    ${gpu}    in phase failed    700 ms
    The Daemon Tells Of XID 154 Once    recovery_action    ${gpu}    ${gpu}    ${True}
    Change GPU    ${gpu}    recovery_action=0
    Pool Should Become    ${gpu}    ready    within=3 s
    The Device Is Well And The Other Pool Undisturbed    ${gpu}    ${other}

XID 154 tells of recovery action ${action:\d}
    [Arguments]    ${gpu}
    Change GPU    ${gpu}    recovery_action=${action}
    Emit XID    154    ${gpu}
