*** Settings ***
Documentation       A config reload puts into force what the file says, and tells what that changes.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
A pool added to the config is there after a reload
    [Tags]    B-REG-080    B-REG-081
    Given a ready pool named old
    And a pool named new
    When the config is reloaded
    Then the reload reports pool new as added
    And the reload reports pool old as unchanged
    And the pool list over HTTP has every pool once, ordered by id
    And pool new shows phase stopped
    When pool new is preloaded
    Then pool new becomes ready within 3 s

A removed pool is drained and stopped, and leaves nothing behind
    [Tags]    B-REG-083    B-REG-084
    Given a ready pool named kept
    And a ready pool named gone    tokens_per_s=40
    And a completion of 20 tokens runs without a lease
    When pool gone is removed from the config
    And the config is reloaded
    Then the reload reports pool gone as removed
    And the reload reports pool kept as unchanged
    And the pool list over HTTP has every pool once, ordered by id
    And the drain of pool gone ends within 5 s as drained
    And the completion ends whole within 3 s
    And no process of pool gone is left within 2 s
    And no files of pool gone are left
    When a caller asks for the status of pool gone over HTTP
    Then it is refused with 404 POOL_NOT_FOUND
    And pool kept shows ready true

A second reload of the same file changes nothing
    [Tags]    B-REG-085    B-REG-082
    Given these ready pools    name | slots    chat | 2    code | 8
    And the status of every pool is noted
    When the config is reloaded
    Then the reload reports every pool as unchanged
    When the config is reloaded over gRPC
    Then the reload reports every pool as unchanged
    And the status of every pool is as noted

A second reload leaves a pool that a model reload has moved alone
    [Tags]    B-REG-085    B-REG-042
    Given a model file other.gguf
    And a ready pool
    And a caller waits 5 s for the reload of the pool to other.gguf
    And the status of the pool is noted
    When the config is reloaded
    Then the reload reports every pool as unchanged
    And the status of the pool is as noted
    And the pool shows model other.gguf

After a reload the status shows the new values
    [Tags]    B-REG-110
    Given a model file other.gguf
    And a GPU named first with 8 GiB
    And a GPU named second with 8 GiB
    And a ready pool    slots=2    gpu=first
    ${second} =    Get Gpu Uuid    second
    When the pool is changed in the config    slots=6    model=models/other.gguf    devices=${second}
    And the config is reloaded
    Then the reload reports the pool as changed in devices, model and slots
    And the pool shows    slots_total 6    model models/other.gguf    ready true    within=5 s
    And the mask of the pool is the same everywhere    second
    And the handoff files of the pool agree with its status

A reload that changes one pool and adds others is one step
    [Tags]    B-REG-112
    Given a ready pool named old    slots=2
    And pool old is changed in the config    slots=3
    And a pool named still
    And a pool named eager    preload=True
    When the config is reloaded
    Then the reload reports pool old as changed in slots
    And the reload reports pool still as added
    And the reload reports pool eager as added
    And all that stands in one event
    And pool eager becomes ready within 5 s
    And pool old shows    slots_total 3    ready true    within=5 s
    And pool still shows    phase stopped    desired stopped
    And pool eager shows    phase ready    desired running

A dry run changes nothing
    [Tags]    B-REG-041
    Given a ready pool    slots=2
    And the status of the pool is noted
    And the pool is changed in the config    slots=3
    When a dry run of the config reload is made
    Then the reload reports the pool as changed in slots
    And the status of the pool is as noted
    When a dry run of the config reload is made
    Then the reload reports the pool as changed in slots


*** Keywords ***
All that stands in one event
    [Documentation]    Of kind config, since the reload.
    ${events} =    Get Events    since_act=True    kind=config
    Length Should Be    ${events}    1
    ${old} =    Get Pool Id    old
    ${still} =    Get Pool Id    still
    ${eager} =    Get Pool Id    eager
    Should Be True
    ...    $events[0]['details']['added'] == sorted([$still, $eager]) and list($events[0]['details']['changed']) == [$old]
