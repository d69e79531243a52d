*** Settings ***
Documentation       Nobody but this host reaches an engine, unless its operator says so.
Resource            PoolManagerResources/scenario.resource
Test Tags           engines    B-ENGINE-009
Test Template       A ${kind} engine whose host is ${host} listens on ${address}


*** Test Cases ***              KIND            HOST            ADDRESS
A llama server by default       llamacpp        not said        127.0.0.1
A vLLM server by default        vllm            not said        127.0.0.1
A TGI server by default         tgi             not said        127.0.0.1
A Triton server by default      triton          not said        127.0.0.1
The stand-in by default         simulated       not said        127.0.0.1
An own command by default       command         not said        127.0.0.1
A llama server elsewhere        llamacpp        127.0.0.4       127.0.0.4
A vLLM server elsewhere         vllm            127.0.0.4       127.0.0.4
A TGI server elsewhere          tgi             127.0.0.4       127.0.0.4
A Triton server elsewhere       triton          127.0.0.4       127.0.0.4
The stand-in elsewhere          simulated       127.0.0.4       127.0.0.4
An own command elsewhere        command         127.0.0.4       127.0.0.4


*** Keywords ***
A ${kind} engine whose host is ${host} listens on ${address}
    [Documentation]    By its command line, the kernel's table of sockets, and the handoff file.
    IF    '${host}' == 'not said'
        Given a ready pool of kind ${kind}
    ELSE
        Given a ready pool of kind ${kind}    host=${host}
    END
    Then it listens on ${address} and nowhere else
    And its url begins with http://${address}:
    And its command line names ${address}

It listens on ${address} and nowhere else
    [Documentation]    By the kernel's table of sockets.
    ${addresses} =    Get Engine Addresses
    Should Be Equal    ${addresses}    ${{ ['${address}'] }}

Its url begins with ${text}
    [Documentation]    In the handoff file.
    ${url} =    Get Handoff    url
    Should Start With    ${url}    ${text}

Its command line names ${address}
    [Documentation]    As a word of its own, or behind Triton's option.
    Get Engine Process    cmdline    validate    any(word.split('=')[-1] == '${address}' for word in value)
