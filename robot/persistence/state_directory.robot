*** Settings ***
Documentation       A state directory that is taken away under the daemon is noticed at once, and costs no engine and no promise.
Resource            PoolManagerResources/scenario.resource
Test Tags           persistence


*** Test Cases ***
A state directory that is removed is missed at once, and all is written anew when it is back
    [Tags]    B-PERSIST-018    B-PERSIST-020
    Given a daemon of its own
    And a ready pool named calm    preload=True
    And a ready pool named crashing    preload=True    restart.initial_ms=20 s    restart.jitter=0
    And a lease is held on pool calm    ttl=120 s
    And the pid of the engine of pool calm is noted
    When the state directory is removed
    Then the loss is announced within 1 s, with what to do
    And a lease on pool calm is refused for want of the store
    And the daemon has not made it again
    When the engine of pool crashing dies
    Then pool crashing becomes unready within 1 s
    When the state directory is made again
    Then an event of kind daemon of the daemon comes within 3 s    to=store_available
    And the files of pool calm are there again
    And it is said that the log of pool calm is lost, and what to do
    And a second daemon is refused
    When the daemon is killed and started again
    Then the engine of pool calm was adopted
    And the daemon lists exactly the leases that are held on pool calm
    And pool crashing shows    phase backoff    last_error.code ENGINE_EXITED

A state directory that is moved away and back is used as before
    [Tags]    B-PERSIST-018    B-PERSIST-020
    Given a daemon of its own
    And a ready pool named calm    preload=True
    And the pid of the engine of pool calm is noted
    When the state directory is moved away
    Then the loss is announced within 1 s, with what to do
    And a lease on pool calm is refused for want of the store
    When the state directory is moved back
    Then an event of kind daemon of the daemon comes within 3 s    to=store_available
    When a caller asks for a lease on pool calm    ttl=120 s
    Then it answers 201
    When the state directory is emptied
    Then an event of kind daemon of the daemon comes within 3 s    to=warning    reason=~written anew
    And the files of pool calm are there again
    # Its answer says that the new database holds all: what is killed before that loses what was in the removed one.
    When a caller asks for a lease on pool calm    ttl=120 s
    Then it answers 201
    When the daemon is killed and started again
    Then the engine of pool calm was adopted
    And the daemon lists exactly the leases that are held on pool calm


*** Keywords ***
The loss is announced within ${time}, with what to do
    [Documentation]    Though nobody has tried to write anything.
    ${event} =    Wait For Event    within=${time}    kind=daemon    to=store_unavailable    code=STORE_UNAVAILABLE
    Should Contain    ${event}[details][hint]    make the folder again
    Daemon Log Should Have    level=error    code=STORE_UNAVAILABLE    hint=~make the folder again
    Http Request    GET    /ready
    Answer Should Be    503
    Answer Field    store    equals    unavailable
    Pool Should Show    calm    ready true

A lease on pool ${name} is refused for want of the store
    Acquire Lease    ${name}
    Answer Should Be    503    STORE_UNAVAILABLE

The engine of pool ${name} dies
    [Documentation]    By SIGKILL. Its pid is the status', since its pid file is gone.
    ${pid} =    Get Engine Pid    ${name}
    Begin Act    the engine of pool ${name} dies
    Evaluate    os.kill($pid, signal.SIGKILL)    modules=os, signal

The daemon has not made it again
    ${folder} =    Get Daemon    state_dir
    ${is there} =    Evaluate    os.path.exists($folder)    modules=os
    Should Not Be True    ${is there}

The files of pool ${name} are there again
    [Documentation]    What others read of it, and what only the daemon does.
    State File Should Exist    handoff    ${name}/r0    within=2 s
    State File Should Exist    pid    ${name}/r0
    State File Should Exist    pool pid    ${name}/r0
    State File Should Exist    state.id
    State File Should Exist    daemon.json
    State File Should Exist    state.db
    Handoff Should Agree With Status    ${name}

It is said that the log of pool ${name} is lost, and what to do
    [Documentation]    Once: its engine has the removed file open.
    ${event} =    Wait For Event    ${name}    within=2 s    kind=daemon    to=warning    code=STORE_UNAVAILABLE
    Should Contain    ${event}[reason]    was removed
    Should Contain    ${event}[details][path]    engine-
    Should Contain    ${event}[details][hint]    drain the pool and preload it
    Daemon Log Should Have    level=warning    code=STORE_UNAVAILABLE    hint=~drain the pool and preload it

A second daemon is refused
    [Documentation]    The directory is the first one's.
    Second Daemon On Same State
    Answer Should Be    1
    Answer Text    contains    another daemon

The daemon lists exactly the leases that are held on pool ${name}
    Listed Leases Should Be Those Held    ${name}
