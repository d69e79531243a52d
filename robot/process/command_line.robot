*** Settings ***
Documentation    What a started engine is: the configured program itself, with the operator's arguments and nothing of the daemon's.

Resource         PoolManagerResources/scenario.resource

Test Tags        process


*** Variables ***
@{AWKWARD}    --a word    two \ spaces    'single'    "double"    both "'
...           $HOME    \${HOME}    $(id)    `id`    naïve 模型 🦙    *    back\\slash    a;b&c|d>e    --key=it's $5


*** Test Cases ***
The engine is the configured binary itself, without a shell in between
    [Tags]    B-PROC-001
    ${binary} =    Evaluate    os.path.realpath(sys.executable)
    Given a ready pool    binary=${binary}
    Then the engine's first word and executable are ${binary}
    And the engine is the daemon's own child

Arguments reach the engine byte for byte
    [Tags]    B-PROC-002
    Given a ready pool    args=${AWKWARD}
    Then the engine's command line ends with the bytes of    @{AWKWARD}

Words of a pool's own command reach it byte for byte
    [Tags]    B-PROC-002
    ${binary} =    Create Engine Program
    ${command} =    Evaluate    [$binary, '--port', '{port}', '{not a placeholder}', *$AWKWARD]
    Given a pool    engine=command    command=${command}    vram_bytes=256 MiB
    When a caller waits 10 s for the preload of the pool
    Then it answers 200
    And the engine's command line ends with the bytes of    {not a placeholder}    @{AWKWARD}

The pid in the status is that of a living process with the engine's command line
    [Tags]    B-PROC-020
    Given 2 ready pools
    Then the pid of pool p1 lives and runs the engine of pool p1
    And the pid of pool p2 lives and runs the engine of pool p2

Each engine leads a session and a process group of its own
    [Tags]    B-PROC-019
    Given a ready pool    replicas=2    min_ready=2
    Then engine r0 leads a session and a group that are not the daemon's
    And engine r1 leads a session and a group that are not the daemon's

The engine inherits nothing but its standard streams
    [Tags]    B-PROC-028
    ${binary} =    A program that says what it has open
    Given a watcher follows the events
    And a ready pool    binary=${binary}
    Then the log says that the engine began with    0 /dev/null    1 its log    2 its log


*** Keywords ***
The engine's first word and executable are ${binary}
    ${words} =    Get Engine Process    cmdline
    Should Be Equal    ${words}[0]    ${binary}
    Get Engine Process    exe    ==    ${binary}

The engine is the daemon's own child
    ${daemon} =    Get Daemon    pid
    Get Engine Process    parent    ==    ${daemon}

The engine's command line ends with the bytes of
    [Arguments]    @{words}
    ${pid} =    Get Engine Pid
    ${bytes} =    Evaluate    pathlib.Path('/proc/${pid}/cmdline').read_bytes()
    ${wanted} =    Evaluate    b''.join(word.encode() + b'\\0' for word in $words)
    Should Be True    $bytes.endswith(b'\\0' + $wanted)    ${bytes} should end with ${wanted}

The pid of pool ${name} lives and runs the engine of pool ${name_again}
    ${pid} =    Get Engine Pid    ${name}/r0
    Process Should Live    ${pid}
    ${id} =    Get Pool Id    ${name}
    ${environment} =    Get Process    ${pid}    environ
    Should Be Equal    ${environment}[POOL_MANAGERD_POOL]    ${id}
    ${url} =    Get Replica Field    ${name}/r0    url
    Command Line Should Have    ${name}/r0    --port    ${{ $url.rpartition(':')[2] }}

Engine ${replica} leads a session and a group that are not the daemon's
    ${pid} =    Get Engine Pid    ${replica}
    Get Process    ${pid}    session    ==    ${pid}
    Get Process    ${pid}    group    ==    ${pid}
    ${daemon} =    Get Daemon    pid
    ${session} =    Get Process    ${daemon}    session
    ${group} =    Get Process    ${daemon}    group
    Should Not Be Equal    ${pid}    ${session}
    Should Not Be Equal    ${pid}    ${group}

A program that says what it has open
    [Documentation]    A stand-in engine that writes a line for each of its descriptors before anything else.
    ${stand_in} =    Create Engine Program
    ${text} =    Evaluate    pathlib.Path($stand_in).read_text()
    ${head} =    Catenate    SEPARATOR=\n
    ...    import os
    ...    for name in sorted(os.listdir("/proc/self/fd"), key=int):
    ...    ${SPACE*4}if os.path.lexists(f"/proc/self/fd/{name}"):
    ...    ${SPACE*8}print("open:", name, os.readlink(f"/proc/self/fd/{name}"), flush=True)
    ${first}    ${rest} =    Evaluate    $text.split('\\n', 1)
    ${program} =    Create Program    lists-files    ${first}\n${head}\n${rest}
    RETURN    ${program}

The log says that the engine began with
    [Arguments]    @{descriptors}
    ${log} =    Get State Path    log
    ${text} =    Get Engine Log
    ${text} =    Evaluate    $text.replace($log, 'its log')
    ${seen} =    Evaluate    [line[6:] for line in $text.splitlines() if line.startswith('open: ')]
    Should Be Equal    ${seen}    ${descriptors}
