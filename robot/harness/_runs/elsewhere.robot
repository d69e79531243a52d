*** Settings ***
Documentation    For `installed.robot`, which copies it to a folder outside the repository: nothing but the installed library.

Library          PoolManagerLibrary


*** Test Cases ***
The library drives a daemon
    Define Pool    chat    load_ms=50 ms
    Preload Pool    chat
    Pool Should Become    chat    ready    within=30 s
    Get Pool Field    chat    slots_free    ==    4
    Kill Engine    chat/r0
    Pool Should Become    chat    unready    within=10 s
