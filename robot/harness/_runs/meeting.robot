*** Settings ***
Documentation    For `at_once.robot`, which runs it in two runs at the same time.

Resource         meeting.resource


*** Test Cases ***
One run has a daemon, an engine and files while another one has, too
    Given a ready pool whose engine starts a child
    Then the daemon, its state and the engine are told
    And three processes have come as far
    And the pool is ready
