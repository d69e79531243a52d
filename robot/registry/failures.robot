*** Settings ***
Documentation       Each way to fail sets the last error: code, text, time and hint.
Resource            PoolManagerResources/scenario.resource
Test Template       A pool whose engine ${behaviour} shows ${code} as its last error
Test Tags           registry    OC-POOL-3003    B-REG-010


*** Test Cases ***          BEHAVIOUR                               CODE
An exit code                exits with code 3 while loading         ENGINE_EXITED
A signal                    dies of SIGSEGV once ready              ENGINE_EXITED
No more memory              runs out of memory while loading        OUT_OF_MEMORY
A CUDA error                reports a CUDA error once ready         CUDA_ERROR
Offloading to the CPU       offloads to the CPU                     CPU_SPILLOVER
No answer in time           never becomes ready                     READINESS_TIMEOUT
No answer any more          answers 500 to health checks            READINESS_TIMEOUT


*** Keywords ***
A pool whose engine ${behaviour} shows ${code} as its last error
    [Documentation]    With the very words, hint and time of the failure in the event stream.
    Given a pool whose engine ${behaviour}
    ...    vram_bytes=1 GiB    readiness.timeout_ms=400 ms    restart.initial_ms=30 s
    When the pool is preloaded
    Then the last error of the pool is ${code} within 5 s
    And the last error of the pool tells what the event told
