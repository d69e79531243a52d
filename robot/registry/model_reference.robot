*** Settings ***
Documentation       The model of a pool: the one it was last reloaded to, until the config names another.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
Status, list, gRPC and handoff file name the same model
    [Tags]    B-REG-045    B-REG-042
    Given a model file other.gguf
    And a ready pool
    Then the pool shows model models/small.gguf
    And every view of the pool shows the same model
    And the handoff files of the pool agree with its status
    When a caller waits 5 s for the reload of the pool to other.gguf
    Then the pool shows    model other.gguf    ready true
    And every view of the pool shows the same model
    And the handoff files of the pool agree with its status

A reload that fails leaves the model as it was
    [Tags]    B-REG-042
    Given a model file other.gguf
    And a ready pool    readiness.timeout_ms=1 s
    And with model other.gguf the engine dies of SIGSEGV while loading
    When a caller waits 8 s for the reload of the pool to other.gguf
    Then it is refused with RELOAD_FAILED
    And the pool shows    model models/small.gguf    ready true
    And the handoff files of the pool agree with its status

A reload holds until the config names another model
    [Tags]    B-REG-042
    Given a model file other.gguf
    And a model file third.gguf
    And a ready pool    slots=2
    When a caller waits 5 s for the reload of the pool to other.gguf
    And the pool is changed in the config    slots=3
    And the config is reloaded
    Then the pool shows    slots_total 3    model other.gguf    ready true    within=5 s
    When the pool is changed in the config    model=models/third.gguf
    And the config is reloaded
    Then the reload reports the pool as changed in model
    And the handoff file names third.gguf within 5 s
    And the pool shows    model models/third.gguf    ready true    within=5 s
    And the handoff files of the pool agree with its status

A reload outlives the daemon
    [Tags]    B-REG-042    B-REG-085
    Given a daemon of its own
    And a model file other.gguf
    And a ready pool
    And a pool named plain
    And pool plain has been preloaded
    When a caller waits 5 s for the reload of pool pool to other.gguf
    And the daemon is killed and started again
    Then pool pool shows    model other.gguf    ready true    within=5 s
    And pool plain shows    model models/small.gguf    ready true    within=5 s
    And the handoff files of pool pool agree with its status
    When the config is reloaded
    Then the reload reports every pool as unchanged
    When pool pool is changed in the config    model=models/other.gguf
    And the daemon is stopped and started again
    Then pool pool shows    model models/other.gguf    ready true    within=5 s


*** Keywords ***
The handoff file names ${file} within ${time}
    [Documentation]    As the model's file.
    Wait Until Keyword Succeeds    ${time}    50 ms    Get Handoff    model.path    $=    /models/${file}
