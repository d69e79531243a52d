*** Settings ***
Documentation       Kinds that the daemon knows, and what the stand-in gives a caller.
Resource            PoolManagerResources/scenario.resource
Test Tags           engines


*** Test Cases ***
A kind that nobody knows is refused with the list of those there are
    [Tags]    B-ENGINE-008
    Given a running daemon
    And a config file with a pool of kind llamacp
    When the operator checks that file
    Then it exits with 2
    And the answer names each of llamacpp, vllm, tgi, triton, command, simulated
    And Answer Text    contains    "llamacp"

A completion through the url in the handoff file comes token by token
    [Tags]    B-ENGINE-011
    Given a ready pool whose engine generates 50 tokens per second
    When a completion of 15 tokens runs without a lease
    Then the completion is still running
    And the completion ends whole within 5 s
    And its 15 tokens came one by one


*** Keywords ***
A config file with a pool of kind ${kind}
    [Documentation]    And nothing else wrong with it.
    ${text} =    Catenate    SEPARATOR=\n
    ...    [devices]    source = "simulated"    [[pool]]    id = "chat"    engine = "${kind}"    model = "models/small.gguf"
    ${path} =    Write File    kinds-${kind}.toml    ${text}
    VAR    ${CHECKED FILE} =    ${path}    scope=TEST

The operator checks that file
    [Documentation]    No daemon is asked.
    Run Pool Managerd    check-config ${CHECKED FILE}

The answer names each of ${words}
    [Documentation]    In whatever order.
    ${text} =    Answer Text
    FOR    ${word}    IN    @{{ $words.split(', ') }}
        Should Contain    ${text}    ${word}
    END

Its ${count:\d+} tokens came one by one
    [Documentation]    At 50 per second they lie 20 ms apart; together they took at least 200 ms.
    Get Completion    tokens    ==    ${count}
    ${times} =    Get Completion    times
    ${distinct} =    Evaluate    len({round(at, 3) for at in $times})
    Should Be True    ${distinct} >= ${count} - 3    The tokens came at ${times}.
    Should Be True    ${times}[-1] - ${times}[0] >= 0.2
