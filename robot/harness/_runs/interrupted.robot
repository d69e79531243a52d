*** Settings ***
Documentation    For `interrupted.robot`, which stops it by SIGINT: an engine that ignores SIGTERM has a child in a session of its own.

Resource         PoolManagerResources/scenario.resource
Library          OperatingSystem


*** Test Cases ***
It is stopped here
    Given a ready pool whose engine ignores SIGTERM and starts a child in its own session
    Then Create File    %{READY_FILE}
    And Sleep    120 s

It does not come to this one
    Fail    The run should have been stopped.
