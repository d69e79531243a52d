*** Settings ***
Documentation    The daemon describes its HTTP side, and is as it says.

Library          String
Resource         PoolManagerResources/scenario.resource

Test Tags        api


*** Test Cases ***
The document is valid and lists every path
    [Tags]    B-API-038
    Given a running daemon
    Then its OpenAPI document is valid
    And it lists exactly the operations of the API

A live daemon answers as the document says
    [Tags]    B-API-038
    Given a ready pool
    And a model file other.gguf
    Then the answers of these operations are as described
    ...    GET /health
    ...    GET /livez
    ...    GET /ready
    ...    GET /readyz
    ...    GET /metrics
    ...    GET /v2/pools
    ...    GET /v2/pools/{pool_id}
    ...    GET /v2/pools/{pool_id}/status
    ...    GET /v2/pools/{pool_id}/health
    ...    GET /v2/pools/{pool_id}/leases
    ...    POST /v2/pools/{pool_id}/leases
    ...    PUT /v2/pools/{pool_id}/leases/{lease_id}
    ...    DELETE /v2/pools/{pool_id}/leases/{lease_id}
    ...    GET /v2/pools/{pool_id}/logs
    ...    GET /v2/devices
    ...    POST /v2/config/reload
    ...    POST /v2/pools/{pool_id}/circuit/reset
    ...    POST /v2/pools/{pool_id}/preload
    ...    POST /v2/pools/{pool_id}/reload
    ...    POST /v2/pools/{pool_id}/preload
    ...    DELETE /v2/pools/{pool_id}/drain
    ...    POST /v2/pools/{pool_id}/drain

No made-up request is answered with INTERNAL
    [Documentation]    Nor with anything that the document does not describe. The seed makes the requests the same each time.
    [Tags]    B-API-044    B-API-038    B-ERROR-003    OC-POOL-3030
    Given a ready pool    load_ms=20
    When requests are made up from the document and sent to the daemon
    Then more than 80 were sent, and none was answered with INTERNAL or with what the document does not describe
    And the daemon still serves
    And the daemon logs nothing with    event=internal_error

The page loads nothing from another host
    [Tags]    B-API-046
    Given a running daemon
    When a caller sends GET /docs
    Then it answers 200
    And the answer names <html
    And it names no other host
    And everything that it loads comes from the daemon itself
    And it shows the OpenAPI document


*** Keywords ***
Its OpenAPI document is valid
    Openapi Should Be Valid

It lists exactly the operations of the API
    Openapi Should List
    ...    GET /v2/pools
    ...    GET /v2/pools/{id}
    ...    GET /v2/pools/{id}/status
    ...    GET /v2/pools/{id}/health
    ...    POST /v2/pools/{id}/preload
    ...    POST /v2/pools/{id}/drain
    ...    DELETE /v2/pools/{id}/drain
    ...    POST /v2/pools/{id}/reload
    ...    POST /v2/pools/{id}/circuit/reset
    ...    GET /v2/pools/{id}/leases
    ...    POST /v2/pools/{id}/leases
    ...    PUT /v2/pools/{id}/leases/{lease}
    ...    DELETE /v2/pools/{id}/leases/{lease}
    ...    GET /v2/pools/{id}/logs
    ...    GET /v2/devices
    ...    GET /v2/events
    ...    POST /v2/config/reload

The answers of these operations are as described
    [Arguments]    @{operations}
    VAR    ${lease} =    none
    FOR    ${operation}    IN    @{operations}
        ${method}    ${template} =    Split String    ${operation}    ${SPACE}
        ${path} =    Evaluate    $template.replace('{pool_id}', '{pool}').replace('{lease_id}', $lease)
        ${waits} =    Evaluate    $method == 'POST' and $path.endswith(('/preload', '}/reload', '/drain'))
        ${wait} =    Evaluate    '?wait=5' if $waits else ''
        ${body} =    Evaluate    '{"new_model_ref": "other.gguf"}' if $path.endswith('{pool}/reload') else None
        Http Request    ${method}    ${path}${wait}    ${body}
        Answer Should Match Openapi    ${operation}
        Answer Should Be    accepted
        IF    '${operation}' == 'POST /v2/pools/{pool_id}/leases'
            ${lease} =    Answer Field    lease_id
        END
    END

Requests are made up from the document and sent to the daemon
    ${sent} =    Send Generated Requests    seed=20    examples=5    limit=30 s
    VAR    ${SENT} =    ${sent}    scope=TEST

More than ${count} were sent, and none was answered with INTERNAL or with what the document does not describe
    Should Be True    ${SENT} > ${count}

It names no other host
    ${text} =    Answer Text
    ${hosts} =    Get Regexp Matches    ${text}    (?i)(?:src|href|action)\\s*=\\s*["']?(?:https?:)?//[^"'\\s>]+
    Should Be Empty    ${hosts}

Everything that it loads comes from the daemon itself
    ${text} =    Answer Text
    ${loaded} =    Get Regexp Matches    ${text}    (?:src|href)="([^"]+)"    1
    FOR    ${path}    IN    @{loaded}
        IF    $path.startswith(('#', 'data:'))    CONTINUE
        ${path} =    Evaluate    '/' + $path.lstrip('./')
        Http Request    GET    ${path}
        Answer Should Be    200
        ${part} =    Answer Text
        Should Not Match Regexp    ${part}    (?i)(?:import|url\\(|fetch\\(|src=)\\s*["']?(?:https?:)?//
    END

It shows the OpenAPI document
    Http Request    GET    /docs
    ${page} =    Answer Text
    ${scripts} =    Get Regexp Matches    ${page}    src="([^"]+)"    1
    VAR    ${all} =    ${page}
    FOR    ${path}    IN    @{scripts}
        ${path} =    Evaluate    '/' + $path.lstrip('./')
        Http Request    GET    ${path}
        ${script} =    Answer Text
        VAR    ${all} =    ${all}${script}
    END
    Should Contain    ${all}    openapi.json
