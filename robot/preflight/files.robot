*** Settings ***
Documentation    What is to be run is looked at before anything is: program and model are there, can be read, and are what they should be.

Library          OperatingSystem
Resource         PoolManagerResources/scenario.resource

Test Tags        preflight


*** Test Cases ***
A binary that does not exist or cannot be executed is refused before any spawn
    [Tags]    B-PREFLIGHT-015    OC-POOL-3003
    [Template]    A pool with binary ${binary} is refused before any spawn with ENGINE_NOT_FOUND
    /nowhere/engine
    no-such-program-on-path
    ${CURDIR}
    ${CURDIR}/files.robot
    /dev/null

A model file that does not exist is refused before any spawn
    [Tags]    B-PREFLIGHT-016    OC-POOL-3003
    [Template]    A pool whose model ${is} is refused before any spawn, and told that it "${problem}"
    does not exist    does not exist
    is a link to nothing    does not exist
    is a link that leads to itself    does not exist
    is a folder    is a folder

A model file that cannot be read is refused before any spawn
    [Documentation]    Root may read any file; so here it is one that gives an input/output error to whoever reads it.
    [Tags]    B-PREFLIGHT-016    OC-POOL-3003
    Given a daemon of its own    server.model_dirs=["models", "/proc/self"]
    And a pool    model=/proc/self/mem
    And a running daemon
    When the pool is preloaded
    Then the preload fails within 1 s with MODEL_NOT_FOUND
    And the last error of the pool is MODEL_NOT_FOUND
    And the error names "/proc/self/mem", "cannot be read"
    And the pool goes through preflight, failed
    And no engine process was started

A model that is truncated or of another format is refused before any spawn
    [Tags]    B-PREFLIGHT-017    OC-POOL-3002
    [Template]    A ${engine} pool whose model is ${model} is refused before any spawn, and told "${problem}"
    simulated    an empty file    is empty
    simulated    a text    not a GGUF file
    simulated    cut in its first bytes    truncated
    llamacpp    cut in its header    truncated
    llamacpp    cut in its weights    truncated
    llamacpp    a folder    is a folder
    vllm    a folder without a config    config.json
    vllm    a folder with cut weights    truncated
    triton    a repository without a model    model


*** Keywords ***
A pool with binary ${binary} is refused before any spawn with ENGINE_NOT_FOUND
    ${name} =    A Name
    Define Pool    ${name}    binary=${binary}
    Preload Pool    ${name}
    Refused Before Any Spawn    ${name}    ENGINE_NOT_FOUND    ${binary}

A pool whose model ${is} is refused before any spawn, and told that it "${problem}"
    ${name} =    A Name
    ${path} =    Run Keyword    A Model That ${is}    ${name}
    Define Pool    ${name}    model=${path}
    Preload Pool    ${name}
    Refused Before Any Spawn    ${name}    MODEL_NOT_FOUND    ${path}
    Error Should Name    "${problem}"

A ${engine} pool whose model is ${model} is refused before any spawn, and told "${problem}"
    ${name} =    A Name
    ${path} =    Run Keyword    A Model That Is ${model}    ${name}
    ${binary} =    Create Engine Program
    Define Pool    ${name}    engine=${engine}    binary=${binary}    model=${path}    vram_bytes=1 GiB
    Preload Pool    ${name}
    Refused Before Any Spawn    ${name}    MODEL_NOT_FOUND    ${path}
    Error Should Name    "${problem}"

A Name
    ${name} =    Evaluate    'p' + uuid.uuid4().hex[:8]
    RETURN    ${name}

Refused Before Any Spawn
    [Arguments]    ${name}    ${code}    ${path}
    Load Should Fail    ${name}    ${code}    within=1 s
    Last Error Should Be    ${name}    ${code}
    Error Should Name    "${path}"
    Error Field    details.path    ==    ${path}
    Phases Should Be    ${name}    preflight    failed
    Engine Should Not Have Been Started    ${name}

A Model Path
    [Arguments]    ${name}    ${ending}=.gguf
    ${folder} =    Get Daemon    models
    RETURN    ${folder}/${name}${ending}

A Model That does not exist
    [Arguments]    ${name}
    ${path} =    A Model Path    ${name}
    RETURN    ${path}

A Model That is a link to nothing
    [Arguments]    ${name}
    ${path} =    A Model Path    ${name}
    Evaluate    os.symlink($path + '.gone', $path)
    RETURN    ${path}

A Model That is a link that leads to itself
    [Arguments]    ${name}
    ${path} =    A Model Path    ${name}
    Evaluate    os.symlink($path, $path)
    RETURN    ${path}

A Model That is a folder
    [Arguments]    ${name}
    ${path} =    A Model Path    ${name}
    Create Directory    ${path}
    RETURN    ${path}

A Model That Is an empty file
    [Arguments]    ${name}
    ${path} =    A Model Path    ${name}
    Create File    ${path}
    RETURN    ${path}

A Model That Is a text
    [Arguments]    ${name}
    ${path} =    Create Model File    ${name}.gguf    content=Once upon a time there was a model.
    RETURN    ${path}

A Model That Is cut in its first bytes
    [Arguments]    ${name}
    ${path} =    Create Model File    ${name}.gguf    content=GGUF
    RETURN    ${path}

A Model That Is cut in its header
    [Arguments]    ${name}
    ${path} =    Create GGUF Model    ${name}.gguf
    Evaluate    os.truncate($path, 200)
    RETURN    ${path}

A Model That Is cut in its weights
    [Arguments]    ${name}
    ${path} =    Create GGUF Model    ${name}.gguf
    Evaluate    os.truncate($path, os.path.getsize($path) - 1)
    RETURN    ${path}

A Model That Is a folder without a config
    [Arguments]    ${name}
    ${path} =    Create Model Folder    ${name}
    Remove File    ${path}/config.json
    RETURN    ${path}

A Model That Is a folder with cut weights
    [Arguments]    ${name}
    ${path} =    Create Model Folder    ${name}
    Evaluate    os.truncate($path + '/model.safetensors', 1000)
    RETURN    ${path}

A Model That Is a repository without a model
    [Arguments]    ${name}
    ${path} =    A Model Path    ${name}    ${EMPTY}
    Create Directory    ${path}
    RETURN    ${path}
