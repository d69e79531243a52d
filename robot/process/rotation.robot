*** Settings ***
Documentation    An engine log that grows is copied aside and emptied under the engine, which goes on writing into the same file.

Resource         PoolManagerResources/scenario.resource

Test Tags        process    OC-POOL-3030


*** Test Cases ***
A log that outgrows its limit is copied aside and emptied, and the engine goes on writing to it
    [Tags]    B-PROC-027
    Given a daemon of its own    log.engine_log_max_bytes=20KiB    log.engine_log_keep=2
    And a ready pool
    And the file that the engine writes to is noted
    When the engine writes 24 KiB of lines that say "first"
    Then 1 rotated logs are kept within 3 s
    And the current log is small, and still the file that the engine writes to
    When the engine logs "after the rotation"
    Then the log of the engine has "after the rotation" within 1 s
    And rotated log 1 says "first"
    And all 24 KiB of "first" are still in the logs
    When the engine writes 24 KiB of lines that say "second"
    Then 2 rotated logs are kept within 3 s
    When the engine writes 24 KiB of lines that say "third"
    Then the newest rotated log says "third" within 3 s
    And 2 rotated logs are kept within 0 s
    And rotated log 2 says "second"
    And the current log is small, and still the file that the engine writes to
    And the rotated logs are the daemon's user's alone
    And the pool is ready


*** Keywords ***
The engine writes ${size} of lines that say "${word}"
    ${count} =    Evaluate    int($size.split()[0]) * 1024 // 64
    ${lines} =    Evaluate    [f'${word} {number} '.ljust(63, '.') for number in range(${count})]
    Set Engine Fault    the engine    stdout=${lines}

The file that the engine writes to is noted
    ${inode} =    The file behind the engine's standard output
    VAR    ${NOTED_INODE} =    ${inode}    scope=TEST

The file behind the engine's standard output
    ${pid} =    Get Engine Pid
    ${inode} =    Evaluate    os.stat('/proc/${pid}/fd/1').st_ino
    RETURN    ${inode}

The current log is small, and still the file that the engine writes to
    ${path} =    Get State Path    log
    ${inode} =    The file behind the engine's standard output
    Should Be Equal    ${inode}    ${NOTED_INODE}
    Should Be Equal    ${{ os.stat($path).st_ino }}    ${NOTED_INODE}
    Should Be True    os.stat($path).st_size < 20 * 1024

${count} rotated logs are kept within ${time}
    Wait Until Keyword Succeeds    ${time}    20 ms    The number of rotated logs is    ${count}

The number of rotated logs is
    [Arguments]    ${count}
    ${path} =    Get State Path    log
    ${files} =    Evaluate    sorted(glob.glob($path + '.[0-9]*'))
    Length Should Be    ${files}    ${{ int($count) }}

The newest rotated log says "${word}" within ${time}
    Wait Until Keyword Succeeds    ${time}    20 ms    Rotated log 1 says "${word}"

Rotated log ${number} says "${word}"
    ${path} =    Get State Path    log
    ${text} =    Evaluate    pathlib.Path($path + '.${number}').read_text()
    Should Contain    ${text}    ${word}

All 24 KiB of "${word}" are still in the logs
    ${path} =    Get State Path    log
    ${text} =    Evaluate    pathlib.Path($path + '.1').read_text() + pathlib.Path($path).read_text()
    ${seen} =    Evaluate    [line for line in $text.splitlines() if line.startswith('${word} ')]
    Length Should Be    ${seen}    384

The rotated logs are the daemon's user's alone
    ${path} =    Get State Path    log
    Get File Mode    ${path}.1    ==    600
    Get File Mode    ${path}.2    ==    600
