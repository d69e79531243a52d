*** Settings ***
Documentation       An engine's 200 counts in HTTP/1.0 and in HTTP/1.1, with or without a length.
Resource            PoolManagerResources/scenario.resource
Test Tags           preload    B-PRELOAD-014    OC-POOL-3001
Test Template       An engine that speaks ${version} becomes ready


*** Test Cases ***      VERSION
The old one             HTTP/1.0
The usual one           HTTP/1.1


*** Keywords ***
An engine that speaks ${version} becomes ready
    Given a pool whose engine speaks ${version} and needs 100 ms to load
    When a caller waits 5 s for the preload of the pool
    Then it answers 200
    And the engine really speaks ${version}
    And Every Ready Should Be Earned

The engine really speaks ${version}
    ${url} =    Get Replica Field    r0    url
    VAR    ${answer} =
    ...    ${{ urllib.request.build_opener(urllib.request.ProxyHandler({})).open($url + '/health', timeout=3) }}
    Should Be Equal    HTTP/${{ $answer.version / 10 }}    ${version}
