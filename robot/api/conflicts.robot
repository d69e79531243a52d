*** Settings ***
Documentation    One drain or reload at a time: what contradicts it is refused and leaves it alone.

Resource         PoolManagerResources/scenario.resource

Test Tags        api    B-API-037


*** Test Cases ***
A running drain is not disturbed by a second drain, a reload or a preload
    Given a ready pool
    And a model file other.gguf
    And a lease is held on the pool
    When the pool is drained    deadline=20 s
    Then it answers 202
    When another drain is tried    deadline=0 s
    Then it is refused as a conflict with the drain
    When the pool is reloaded to other.gguf
    Then it is refused as a conflict with the drain
    When the pool is preloaded
    Then it is refused as a conflict with the drain
    When all leases are released
    Then the pool's drain ends by itself as drained, not forced
    And the pool was never reloaded

A running reload is not disturbed by a drain, another reload or a preload
    Given a ready pool
    And a model file other.gguf
    And with model other.gguf the engine needs 900 ms to load
    When the pool is reloaded to other.gguf
    Then it answers 202
    When the pool is drained    deadline=0 s
    Then it is refused as a conflict with the reload
    When the pool is reloaded to small.gguf
    Then it is refused as a conflict with the reload
    When the pool is preloaded
    Then it is refused as a conflict with the reload
    And the reload ends by itself with the new model

A conflict is refused over gRPC too
    Given a ready pool
    And a lease is held on the pool
    When the pool is drained    deadline=20 s
    Then it answers 202
    When the pool is drained    deadline=0 s    protocol=gRPC
    Then it is refused with FAILED_PRECONDITION CONFLICT
    And the error names "drain"
    When the pool is preloaded over gRPC
    Then it is refused with FAILED_PRECONDITION CONFLICT
    And the pool shows    draining true    active_leases 1


*** Keywords ***
Another drain is tried
    [Arguments]    ${deadline}
    Drain Pool    the pool    deadline=${deadline}

It is refused as a conflict with the ${operation:drain|reload}
    Answer Should Be    409 CONFLICT
    Error Should Name    "${operation}"    the pool
    Error Field    details.operation    ==    ${operation}

The pool's drain ends by itself as drained, not forced
    Wait For Event    the pool    within=5 s    after_act=False    kind=drain    to=~drained|forced
    Get Event    to    ==    drained
    Get Event    details.leases_forced    ==    ${0}

The pool was never reloaded
    ${events} =    Get Events    the pool    kind=reload
    Should Be Empty    ${events}

The reload ends by itself with the new model
    Wait For Event    the pool    within=5 s    after_act=False    kind=reload    to=done
    ${events} =    Get Events    the pool    kind=reload
    Length Should Be    ${events}    2    msg=One reload has begun and ended: ${events}
    Wait Until Pool Is Ready    the pool    1 s
    Get Pool Field    the pool    model    contains    other.gguf
