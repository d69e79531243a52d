*** Settings ***
Documentation    A fault of the daemon itself: the caller gets an id, the log gets the trace.
...
...              The fault is planted from outside, by a module that Python loads at its start.

Resource         PoolManagerResources/scenario.resource

Test Tags        api    B-ERROR-002    B-ERROR-003    OC-POOL-3030


*** Variables ***
${FAULT}
...         import pool_managerd.service
...         def get_pool(self, pool_id): raise RuntimeError('the planted fault')
...         pool_managerd.service.PoolManagerService.get_pool = get_pool
...         separator=\n


*** Test Cases ***
A fault is hidden from its caller and found in the log, on both protocols
    Given a daemon with a fault planted in its status
    And a pool
    When a caller sends GET /v2/pools/{pool}    X-Correlation-Id=look-me-up-1
    Then it is refused with 500 INTERNAL
    And the answer says what could not be done and to look up look-me-up-1
    And the answer does not say "the planted fault", nor where it happened
    And the log has one error with look-me-up-1 and the trace of the planted fault
    When a caller calls gRPC GetPool with the correlation id look-me-up-2
    Then it is refused with INTERNAL
    And the answer says what could not be done and to look up look-me-up-2
    And the answer does not say "the planted fault", nor where it happened
    And the log has one error with look-me-up-2 and the trace of the planted fault


*** Keywords ***
A daemon with a fault planted in its status
    Prepare Daemon    environment=${{ {'PYTHONPATH': 'planted'} }}
    Write File    planted/sitecustomize.py    ${FAULT}
    Unhandled Faults Are Expected

A caller calls gRPC ${method} with the correlation id ${id}
    VAR    &{metadata} =    x-correlation-id=${id}
    Call Grpc    ${method}    pool_id=pool    metadata=${metadata}

The answer says what could not be done and to look up ${id}
    ${message} =    Error Field    message
    Should Match Regexp    ${message}    (GET /v2/pools/|GetPool).* could not be done
    ${hint} =    Error Field    hint
    Should Contain    ${hint}    ${id}

The answer does not say "${secret}", nor where it happened
    ${answer} =    Answer Text
    ${message} =    Error Field    message
    ${hint} =    Error Field    hint
    ${details} =    Error Field    details
    VAR    ${text} =    ${answer} ${message} ${hint} ${details}
    FOR    ${sign}    IN    ${secret}    Traceback    .py    RuntimeError
        Should Not Contain    ${text}    ${sign}
    END

The log has one error with ${id} and the trace of the planted fault
    Daemon Log Should Have    level=error    correlation_id=${id}
    ${records} =    Get Daemon Log    level=error    correlation_id=${id}
    Length Should Be    ${records}    1
    Should Contain    ${records}[0][exception]    Traceback
    Should Contain    ${records}[0][exception]    RuntimeError: the planted fault
