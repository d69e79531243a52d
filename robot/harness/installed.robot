*** Settings ***
Documentation    The keyword library and the runner work where they are installed; nothing of the repository is needed.

Resource         runs.resource
Library          OperatingSystem

Test Tags        harness    B-HARNESS-012


*** Test Cases ***
A suite outside the repository imports the library and drives a daemon
    Given a folder outside the repository with a suite that imports the library
    When plain robot is run there
    Then the run ends with exit code 0
    And the run has started 1 daemon
    And the run has passed exactly    The library drives a daemon
    And nothing is left of the run

Libdoc lists each keyword with a documentation
    Given a folder outside the repository
    When libdoc documents the library there
    Then it lists all keywords of the library, each with a sentence and an example


*** Keywords ***
A folder outside the repository
    An Empty Folder

A folder outside the repository with a suite that imports the library
    An Empty Folder
    ${suite} =    Get File    ${CURDIR}/_runs/elsewhere.robot
    Write Suite    elsewhere.robot    ${suite}

Plain robot is run there
    Run Suites    --outputdir    results    elsewhere.robot    program=robot    environment=${{ {'PYTHONPATH': None} }}

Libdoc documents the library there
    Run Suites    PoolManagerLibrary    results/library.json    program=libdoc
    Suite Run Should End With    0

It lists all keywords of the library, each with a sentence and an example
    ${folder} =    Get Suite Run Results
    ${text} =    Get File    ${folder}/library.json
    ${keywords} =    Evaluate    json.loads($text)['keywords']    modules=json
    ${library} =    Get Library Instance    PoolManagerLibrary
    Should Be Equal    ${{ len($keywords) }}    ${{ len($library.get_keyword_names()) }}
    FOR    ${keyword}    IN    @{keywords}
        Should Not Be Empty    ${keyword}[shortdoc]    ${keyword}[name]
        Should Contain    ${keyword}[doc]    Example    ${keyword}[name]
    END
