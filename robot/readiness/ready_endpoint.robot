*** Settings ***
Documentation       GET /ready says whether all that shall run is Ready, and names each pool with its phase and last error.
Resource            PoolManagerResources/scenario.resource
Test Tags           readiness


*** Test Cases ***
It is 200 while every pool that shall run is Ready
    [Tags]    B-RDY-001    OC-POOL-3001    OC-POOL-3003
    Given these ready pools    name | slots    chat | 2    code | 2
    When a caller sends GET /ready
    Then it answers 200
    And it names pool chat    phase=ready    ready=true    last_error=null
    And it names pool code    phase=ready    ready=true    last_error=null

It is 503 while a pool that shall run is not Ready, and says why
    [Tags]    B-RDY-001    OC-POOL-3001    OC-POOL-3003
    Given these ready pools    name | restart.initial_ms    chat | 30 s    code | -
    And engine r0 of pool chat is killed by SIGSEGV
    And pool chat is in phase backoff
    When a caller sends GET /ready
    Then it answers 503
    And it names pool chat    phase=backoff    ready=false    last_error.code=ENGINE_EXITED
    And it names pool code    phase=ready    ready=true    last_error=null

It is 503 while a pool still loads, and 200 afterwards
    [Tags]    B-RDY-001    OC-POOL-3001    OC-POOL-3003
    Given a pool
    And the engine never becomes ready
    And the pool is preloaded
    And the pool is in phase loading
    When a caller sends GET /ready
    Then it answers 503
    And it names the pool    phase=loading    ready=false    desired=running
    When the engine behaves well again
    Then the pool becomes ready within 5 s
    When a caller sends GET /ready
    Then it answers 200

A pool that its operator stopped does not make it 503
    [Tags]    B-RDY-011    OC-POOL-3001    OC-POOL-3003
    Given these ready pools    name | slots    chat | 2    code | 2
    And pool chat is stopped
    When a caller sends GET /ready
    Then it answers 200
    And it names pool chat    phase=stopped    ready=false    desired=stopped    stopped_by_operator=true
    And it names pool code    phase=ready    ready=true    stopped_by_operator=false

A pool that was never preloaded does not make it 503, and its operator did not stop it
    [Tags]    B-RDY-011    OC-POOL-3003
    Given a daemon of its own
    And a ready pool named chat    preload=True
    And a pool named idle
    When a caller sends GET /ready
    Then it answers 200
    And it names pool idle    phase=stopped    desired=stopped    stopped_by_operator=false
    When pool idle is stopped
    And the daemon is killed and started again
    And pool chat becomes ready within 5 s
    And a caller sends GET /ready
    Then it answers 200
    And it names pool idle    phase=stopped    desired=stopped    stopped_by_operator=true
    When pool idle is preloaded
    And pool idle becomes ready within 5 s
    And a caller sends GET /ready
    Then it names pool idle    phase=ready    desired=running    stopped_by_operator=false

A pool whose engine exited with 0 unasked makes it 503
    [Tags]    B-RDY-011    OC-POOL-3001    OC-POOL-3003
    Given a ready pool
    And the engine exits with code 0
    And the pool is in phase stopped
    When a caller sends GET /ready
    Then it answers 503
    And it names the pool
    ...    phase=stopped
    ...    desired=running
    ...    stopped_by_operator=false
    ...    last_error.code=ENGINE_EXITED

Its other names answer alike
    [Tags]    B-RDY-002
    Given a ready pool    restart.initial_ms=30 s
    Then GET /livez answers as GET /health
    And GET /readyz answers as GET /ready
    When the engine is killed
    And the pool is in phase backoff
    Then GET /livez answers as GET /health
    And GET /readyz answers as GET /ready


*** Keywords ***
It names ${pool:the pool|pool \w+}
    [Arguments]    &{fields}
    ${id} =    Get Pool Id    ${pool}
    ${body} =    Answer Body
    ${pools} =    Evaluate    {one['pool_id']: one for one in $body['pools']}
    FOR    ${path}    ${value}    IN    &{fields}
        ${seen} =    Get Field    ${pools}[${id}]    ${path}
        Should Be Equal As Strings    ${{ json.dumps($seen).strip('"') }}    ${value}    ${path} of ${pool}
    END

GET ${path} answers as GET ${other}
    Answers Should Be Alike    ${path}    ${other}
