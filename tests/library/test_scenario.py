import pytest
from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.outcome import Outcome, Protocol
from PoolManagerLibrary.scenario import Gpu, Pool, Scenario


@pytest.fixture
def scenario():
    made = Scenario(name="t")
    made.gpus = {"big": Gpu("big", "GPU-1", 8)}
    made.pools = {"chat": Pool("chat", "chat-1", {"replicas": 2}), "code": Pool("code", "code-2", {})}
    made.current_pool = made.pools["code"]
    return made


def test_the_pool_is_the_last_one_and_others_have_names(scenario):
    assert scenario.pool("the pool").pool_id == "code-2"
    assert scenario.pool("pool chat") is scenario.pool("chat") is scenario.pools["chat"]
    assert [pool.alias for pool in scenario.pools_named("every pool")] == ["chat", "code"]
    assert [pool.alias for pool in scenario.pools_named("pools code and chat")] == ["code", "chat"]
    with pytest.raises(UsageError, match="no pool 'cat'; its pools: chat, code"):
        scenario.pool("pool cat")


def test_an_id_that_is_no_pool_of_the_scenario_stays_as_it_is(scenario):
    assert scenario.pool_id("chat") == "chat-1"
    assert scenario.pool_id("nobody") == "nobody"


@pytest.mark.parametrize(
    ("name", "pool", "replica"),
    [
        ("the engine", "code-2", "r0"),
        ("engine r1", "code-2", "r1"),
        ("engine r1 of pool chat", "chat-1", "r1"),
        ("the engine of pool chat", "chat-1", "r0"),
        ("chat/r1", "chat-1", "r1"),
        ("r1", "code-2", "r1"),
    ],
)
def test_engines(scenario, name, pool, replica):
    found, found_replica = scenario.replica(name)
    assert (found.pool_id, found_replica) == (pool, replica)


def test_gpus(scenario):
    assert scenario.gpu("GPU big") is scenario.gpu("big") is scenario.gpus["big"]
    with pytest.raises(UsageError, match="has no GPU yet"):
        scenario.gpu("the GPU")
    with pytest.raises(UsageError, match="no GPU 'small'; its GPUs: big"):
        scenario.gpu("GPU small")


def test_a_refusal_is_examined_when_a_step_looks_at_it(scenario):
    refused = Outcome(Protocol.HTTP, "GET /x", False, 404, problem={"code": "NOT_FOUND", "message": "no", "hint": "h"})
    scenario.answered(refused)
    assert [refusal.examined for refusal in scenario.refusals] == [False]
    assert scenario.last_outcome() is refused
    assert refused.examined
    assert refused.describe() == "GET /x: 404: NOT_FOUND no (hint: h)"


def test_nothing_asked_nothing_to_look_at():
    with pytest.raises(UsageError, match="Nothing has been asked yet"):
        Scenario().last_outcome()
