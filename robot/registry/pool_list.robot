*** Settings ***
Documentation       The pool list: every pool once, in order, with a revision to go on from.
Resource            PoolManagerResources/scenario.resource
Test Tags           registry


*** Test Cases ***
Every configured pool is listed once
    [Tags]    B-REG-120    OC-POOL-3003
    Given these pools    name | slots    chat | 2    code | 8    other | 4
    And pool code has been preloaded
    Then the pool list over HTTP has every pool once, ordered by id
    And the pool list over gRPC has every pool once, ordered by id

The list is ordered by id, whatever the order in the file
    [Tags]    B-REG-121
    Given these pools    name | slots    zebra | 2    middle | 2    aardvark | 2
    Then the pool list is in order, however often it is asked
    When the pools stand in the opposite order in the config file
    And the config is reloaded
    Then the reload reports every pool as unchanged
    And the pool list is in order, however often it is asked

Each entry is what the single status says
    [Tags]    B-REG-122    OC-POOL-3003
    Given these ready pools    name | slots    chat | 2    code | 8
    And a pool named idle
    And a pool named broken whose engine exits with code 3 while loading    restart.initial_ms=30 s
    And a lease is held on pool chat
    When pool broken is preloaded
    Then the last error of pool broken is ENGINE_EXITED within 3 s
    And every view of pool chat shows the same
    And every view of pool code shows the same
    And every view of pool idle shows the same
    And every view of pool broken shows the same

Without a pool the list is empty
    [Tags]    B-REG-123
    Given a daemon of its own    gpus=1
    When a caller sends GET /v2/pools
    Then it answers 200
    And the answer's pools is []
    When a caller calls gRPC ListPools
    Then it answers OK
    And the answer's pools is []
    When a caller sends GET /ready
    Then it answers 200

The list's revision is that of the newest event, and grows with every change
    [Tags]    B-REG-030
    Given a ready pool
    Then the pool list's revision is the newest event's
    When a caller asks for a lease on the pool
    Then the pool list's revision is the newest event's
    When the lease is released
    Then the pool list's revision is the newest event's
    When the pool is changed in the config    slots=2
    And the config is reloaded
    Then the pool is ready with 2 slots
    And the pool list's revision is the newest event's
    When the pool is stopped
    Then the pool list's revision is the newest event's

A watcher over HTTP sees exactly the changes after the list
    [Tags]    B-REG-031
    Given a ready pool
    And a caller asks for a lease on the pool
    And the lease is released
    Then a watcher over HTTP that starts from the list's revision sees exactly what follows

A watcher over gRPC sees exactly the changes after the list
    [Tags]    B-REG-031
    Given a ready pool
    And a caller asks for a lease on the pool
    And the lease is released
    Then a watcher over gRPC that starts from the list's revision sees exactly what follows

A watcher that starts from the list's revision goes on with what comes
    [Tags]    B-REG-031
    Given a ready pool
    ${list} =    When Get Pool List
    And a watcher follows the events    since=${list}[revision]
    And a caller asks for a lease on the pool
    And the pool is stopped
    ${seen} =    Then Get Watched Events    at_least=3
    And Changes After Revision Should Be    ${seen}    ${list}[revision]
    And the first of ${seen} is the lease's grant


*** Keywords ***
The pool list is in order, however often it is asked
    [Documentation]    Three times, over both protocols.
    Repeat Keyword    3 times    Pool List Should Be Whole And Ordered    HTTP
    Repeat Keyword    3 times    Pool List Should Be Whole And Ordered    gRPC

The pools stand in the opposite order in the config file
    [Documentation]    From z to a.
    Reverse Pools In Config

The pool is ready with ${count} slots
    [Documentation]    After its engine was replaced.
    the pool shows    slots_total ${count}    ready true    within=5 s

A watcher over ${protocol} that starts from the list's revision sees exactly what follows
    [Documentation]    Lease granted, lease released, pool stopped: all that, and nothing from before.
    ${list} =    Get Pool List
    When a caller asks for a lease on the pool
    And the lease is released
    And the pool is stopped
    And a watcher follows the events    since=${list}[revision]    protocol=${protocol}
    ${seen} =    Get Watched Events    at_least=4
    Then Changes After Revision Should Be    ${seen}    ${list}[revision]
    And the first of ${seen} is the lease's grant

The first of ${events} is the lease's grant
    [Documentation]    The first change that was made after the list was taken.
    Should Be Equal    ${events}[0][details][action]    granted
