*** Settings ***
Documentation    For `at_once.robot`, which runs it beside `meeting.robot`.

Resource         meeting.resource


*** Test Cases ***
Another run has a daemon, an engine and files meanwhile
    Given a ready pool whose engine starts a child
    Then the daemon, its state and the engine are told
    And three processes have come as far
    And the pool is ready
