*** Settings ***
Documentation       Each engine kind is ready by its own rule, asked on its own path.
Resource            PoolManagerResources/scenario.resource
Test Tags           engines    B-ENGINE-006    OC-POOL-3001
Test Template       A ${kind} engine is asked on ${path} and ready when that answers 200


*** Test Cases ***      KIND            PATH
A llama server          llamacpp        /health
A vLLM server           vllm            /health
A TGI server            tgi             /health
A Triton server         triton          /v2/health/ready
The stand-in            simulated       /health
An operator's own       command         /v2/health/ready


*** Keywords ***
A ${kind} engine is asked on ${path} and ready when that answers 200
    [Documentation]    While it loads it answers 503 there, and other paths may answer 200.
    IF    '${kind}' == 'command'
        Given a pool of kind command whose engine needs 250 ms to load    readiness.path=${path}
    ELSE
        Given a pool of kind ${kind} whose engine needs 250 ms to load
    END
    When the pool is preloaded
    Then the pool becomes ready within 10 s
    And it was asked on ${path} while it answered 503 there, and ready only after a 200

It was asked on ${path} while it answered 503 there, and ready only after a 200
    [Documentation]    By the engine's own log of requests and the time of the event.
    ${probes} =    Get Engine Requests    the engine    ${path}
    ${answers} =    Evaluate    [probe['status'] for probe in $probes]
    Should Contain    ${answers}    ${503}
    ${good} =    Get First Good Answer    the engine    ${path}
    ${ready} =    Get Event    at
    Should Be True    __import__('datetime').datetime.fromisoformat($ready).timestamp() >= ${good} - 0.002
