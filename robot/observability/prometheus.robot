*** Settings ***
Documentation    A real Prometheus scrapes the daemon, and evaluates the alerts that come with it.

Resource         PoolManagerResources/scenario.resource

Test Tags        observability    OC-POOL-3030    B-METRICS-013


*** Variables ***
${RULES}    ${CURDIR}/../../packaging/prometheus/pool-managerd.rules.yml
${WRITER}       a-token-for-operators
${READER}       a-token-for-scrapers


*** Test Cases ***
Prometheus scrapes with the reader's token, sees what happens to a pool, and its alert goes off
    [Documentation]    One story, because a Prometheus looks for its targets every 5 s only.
    Given a daemon of its own with a token and one that only reads
    And a ready pool    breaker.failures=1
    When Prometheus scrapes the daemon
    Then it sees up as 1, without an error
    And Query Prometheus    pool_managerd_pool_ready{pool_id="{pool}"}    ==    1
    And Query Prometheus    count({__name__=~"pool_managerd_.+"})    >    100
    And all its rules are evaluated
    And Query Prometheus    count(ALERTS)    ==    ${None}
    When the engine is killed
    Then Query Prometheus    pool_managerd_pool_ready{pool_id="{pool}"}    ==    0
    And Query Prometheus    ALERTS{alertname="PoolManagerdCircuitOpen", alertstate="firing", pool_id="{pool}"}    ==    1


*** Keywords ***
A daemon of its own with a token and one that only reads
    Prepare Daemon    gpus=1    token=${WRITER}    server.token_file=token    server.readonly_token_file=reader
    Write File    token    ${WRITER}
    ${path} =    Write File    reader    ${READER}
    VAR    ${READER FILE} =    ${path}    scope=TEST
    Start Daemon

Prometheus scrapes the daemon
    Start Prometheus    rules=${RULES}    token_file=${READER FILE}

It sees up as 1, without an error
    Query Prometheus    up{job="pool-managerd"}    ==    1
    ${error} =    Get Scrape Error
    Should Be Equal    ${error}    ${EMPTY}

All its rules are evaluated
    ${count} =    All Rules Should Be Evaluated
    Should Be True    ${count} > 15
