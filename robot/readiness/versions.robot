*** Settings ***
Documentation       The status of a Ready pool shows the version that the config sets, or else what engine or binary report.
Resource            PoolManagerResources/scenario.resource
Test Tags           readiness    B-PRELOAD-024    OC-POOL-3003


*** Test Cases ***
The config's version goes before the engine's own
    Given a ready pool whose engine reports version 1.2    engine_version=9.9-lts
    Then the version is 9.9-lts on every surface

The engine's own version is shown
    Given a ready pool whose engine reports version b4711
    Then the version is b4711 on every surface

An engine that does not say is asked by its binary
    [Documentation]    llama-server has no path that names its version without doubt; the program does.
    Given a llama-server whose program says version 6527 and whose server says b0-unknown
    And a ready pool    engine=llamacpp    binary=${BINARY}    model=models/tiny.gguf    vram_bytes=1GiB
    Then the version is 6527 on every surface


*** Keywords ***
The version is ${version} on every surface
    Get Pool Field    the pool    engine_version    ==    ${version}
    Get Pool Field    the pool    engine_version    ==    ${version}    protocol=gRPC
    Get Pool Field    the pool    engine_version    ==    ${version}    protocol=the CLI
    Get Handoff    engine_version    ==    ${version}
    The metric pool_info of the pool is 1    engine_version=${version}

A llama-server whose program says version ${program} and whose server says ${server}
    Create GGUF Model    tiny.gguf
    ${engine} =    Create Engine Program    version=${server}
    VAR    @{lines} =    \#!/bin/sh
    ...    if [ "$1" = --version ]; then echo "version: ${program} (0d9e1e6)" >&2; exit 0; fi
    ...    exec "${engine}" "$@"
    ${text} =    Catenate    SEPARATOR=\n    @{lines}
    ${binary} =    Create Program    llama-server    text=${text}
    VAR    ${BINARY} =    ${binary}    scope=TEST
