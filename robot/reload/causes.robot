*** Settings ***
Documentation       Whatever the new engine fails of, the pool ends Ready on the old model and the caller learns the cause.
Resource            PoolManagerResources/scenario.resource
Test Tags           reload    B-RELOAD-007    OC-POOL-3001    OC-POOL-3003
Test Template       A new engine that ${fault} is given up with the cause ${cause}


*** Test Cases ***              FAULT                               CAUSE
It ends                         exits with code 3 while loading     ENGINE_EXITED
It ends well                    exits with code 0 while loading     ENGINE_EXITED
It crashes                      dies of SIGSEGV while loading       ENGINE_EXITED
It takes too long               never becomes ready                 READINESS_TIMEOUT
It answers nothing              hangs                               READINESS_TIMEOUT
GPU memory runs out             runs out of memory while loading    OUT_OF_MEMORY
The CPU would have to help      offloads to the CPU                 CPU_SPILLOVER


*** Keywords ***
A new engine that ${fault} is given up with the cause ${cause}
    [Documentation]    The answer has the new engine's cause, and the pool runs the old model again.
    Given a ready pool    needs=1 GiB    readiness.timeout_ms=1 s    readiness.probe_timeout_ms=500 ms
    And a model file bad.gguf
    And with model bad.gguf the engine ${fault}
    When a caller waits 10 s for the reload of the pool to bad.gguf
    Then it is refused with 502 RELOAD_FAILED
    And the error's details.cause is ${cause}
    And the error's details.restored is true
    And the pool shows    ready true    phase ready    desired running
    And status and handoff show small.gguf and version simulated-1
