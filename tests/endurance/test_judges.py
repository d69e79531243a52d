"""The judges themselves: each says what is wrong, and plans are the same again."""

import threading
from types import SimpleNamespace

import pytest
from endurance import invariants, plan
from endurance.callers import Holder
from endurance.kills import Moment
from endurance.shape import BY_ID, GPUS, POOLS, REPLICAS
from endurance.stream import StreamJudge
from endurance.world import World
from PoolManagerLibrary.errors import DaemonError
from PoolManagerLibrary.event_log import SeenEvent
from PoolManagerLibrary.outcome import Outcome, Protocol

from pool_managerd.core.times import rfc3339

NOW = 1_800_000_000.0


def event(revision, kind, *, at=0.0, from_=None, to=None, code=None, **details):
    document = {
        "revision": revision, "at": rfc3339(NOW + at), "kind": kind, "pool_id": "p", "replica_id": "r0", "from": from_,
        "to": to, "code": code, "reason": "", "details": details,
    }  # fmt: skip
    return SeenEvent.parse(document)


def phases(*steps, first=1):
    return [event(first + number, "phase", from_=old, to=new) for number, (old, new) in enumerate(steps)]


def judged(*events):
    judge = StreamJudge()
    judge.caught_up()
    return judge.hear(events)


def backoff(revision, at, delay):
    return event(revision, "phase", at=at, from_="ready", to="backoff", next_restart_at=rfc3339(NOW + at + delay))


def restart(revision, at):
    return event(revision, "phase", at=at, from_="backoff", to="preflight", restart=True)


def opened(revision):
    return event(revision, "breaker", from_="closed", to="open")


def lease(revision, action):
    return event(revision, "lease", action=action, lease_id="a")


def granted(revision):
    return lease(revision, "granted")


READY = phases(("stopped", "preflight"), ("preflight", "starting"), ("starting", "loading"), ("loading", "ready"))


def test_what_is_right_is_not_blamed():
    events = [*READY, granted(5), lease(6, "released"), backoff(7, 1, 0.1)]
    assert judged(*events, restart(8, 1.1)) == []


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([*READY, *READY[3:]], "revision 4 after 4"),
        ([READY[0], READY[2]], "the revisions 2 to 2 are missing"),
        ([event(1, "gap")], "events are missing"),
        (phases(("stopped", "ready")), "ready never follows stopped"),
        (phases(("stopped", "preflight"), ("loading", "ready")), "it was preflight and not loading"),
        ([event(1, "restart_scheduled", backoff_ms=24)], "shorter than the floor"),
        ([backoff(1, 0, 0.2), restart(2, 0.1)], "before its time"),
        ([event(1, "phase", restart_count=2), event(2, "phase", restart_count=1)], "restart_count falls"),
        ([restart(number + 1, number / 10) for number in range(9)], "9 restarts within"),
        ([opened(1), *phases(("preflight", "starting"), first=2)], "started while its circuit is open"),
        ([event(1, "pool_ready"), event(2, "pool_ready")], "twice in a row"),
        ([event(1, "pool_ready")], "Ready without any replica"),
        ([granted(1)], "granted on a replica that is None"),
        ([*READY, granted(5), granted(6)], "granted after it was granted"),
        ([lease(1, "expired"), lease(2, "renewed")], "renewed after it was expired"),
        ([event(1, "phase", code="INTERNAL")], "a fault of the daemon's own"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(events, said):
    assert any(said in problem for problem in judged(*events))


def test_revisions_jump_once_for_each_daemon_that_was_killed():
    judge = StreamJudge()
    judge.hear(READY)
    judge.caught_up()
    judge.killed()
    assert judge.hear([event(10_000, "daemon", to="started")]) == []
    assert judge.hear([event(20_000, "daemon", to="started")]) != []


def test_a_daemon_that_is_killed_while_its_disk_is_full_may_forget_what_it_promised_nobody():
    judge = StreamJudge()
    judge.hear([event(1, "phase", restart_count=2), event(2, "daemon", to="store_unavailable"), event(3, "lease")])
    assert judge.hear([event(4, "daemon", to="started"), event(5, "phase", restart_count=1)]) == []
    assert judge.forgot


def test_a_circuit_that_opened_while_the_disk_was_full_may_be_forgotten_by_the_next_daemon():
    opened, start = event(2, "breaker", to="open"), event(4, "phase", from_="preflight", to="starting")
    judge = StreamJudge()
    judge.hear([event(1, "daemon", to="store_unavailable"), opened])
    assert judge.hear([event(3, "daemon", to="started"), start]) == []
    judge = StreamJudge()
    judge.hear([event(1, "daemon", to="store_available"), opened])
    assert "its circuit is open" in str(judge.hear([event(3, "daemon", to="started"), start]))


@pytest.mark.parametrize("again", ["released", "expired", "forced"])
@pytest.mark.parametrize(("age_s", "fine"), [(0.1, True), (2.0, False)])
def test_the_end_of_a_lease_right_before_a_kill_may_not_have_been_stored(age_s, fine, again):
    judge = StreamJudge()
    told = [*READY, granted(5), lease(6, "released"), event(7, "preload", at=age_s, to="ready")]
    after = [event(8, "daemon", at=3.0, to="started"), lease(9, "renewed"), lease(10, again)]
    assert (judge.hear([*told, *after]) == []) is fine
    assert judge.hear([lease(11, again)]) != []


@pytest.mark.parametrize(("outcome", "fine"), [("failed", True), ("stopped", False)])
def test_a_trial_is_made_again_only_where_something_was_missing(outcome, fine):
    trial = (("half_open", "preflight"), ("preflight", "starting"), ("starting", "loading"), ("loading", outcome))
    judge = StreamJudge()
    judge.hear([event(1, "breaker", to="half_open"), event(2, "preload", to="started", trigger="restart")])
    assert judge.hear(phases(*trial, first=3)) == []
    again = phases((outcome, "preflight"), ("preflight", "starting"), first=7)
    assert (judge.hear(again) == []) is fine


def replica(**changes):
    one = {"replica_id": "r0", "phase": "ready", "ready": True, "live": True, "pid": 7, "last_error": None}
    return one | {"breaker": {"state": "closed"}} | changes


def status(*replicas, **changes):
    base = {"pool_id": "p", "phase": "ready", "ready": True, "live": True, "draining": False, "desired": "running"}
    return base | {"slots_total": 2, "slots_free": 2, "replicas": list(replicas)} | changes


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (status(replica(ready=False, phase="backoff", pid=None)), "ready is True with 0 of 1"),
        (status(replica(pid=None)), "r0 is Ready in phase ready with pid None"),
        (status(replica(), slots_free=3), "3 of 2 slots"),
        (status(replica(), live=False), "live is not"),
        (status(replica(), replica(phase="failed", ready=False)), "has pid 7 in phase failed"),
        (status(replica(), replica(phase="circuit_open", ready=False, pid=None)), "with a breaker that is closed"),
    ],
)
def test_a_status_that_contradicts_itself_is_told(seen, said):
    assert any(said in problem for problem in invariants.contradictions(seen, 1))


class Listing:
    """A world of which only the list of pools is asked, ``answer`` each time."""

    begin = World.begin
    take_faults = World.take_faults

    def __init__(self, answer):
        self.shapes = ()
        self.faults = []
        self.daemon = SimpleNamespace(http=SimpleNamespace(forget_connections=lambda: None))
        self.answer = answer
        self.asked = threading.Event()
        self.asked_again = threading.Event()

    def ask(self, *_operation, **_arguments):
        (self.asked_again if self.asked.is_set() else self.asked).set()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def listed(*pools):
    return Outcome(Protocol.HTTP, "list", True, 200, body={"pools": list(pools)})


def test_a_watch_that_sees_the_pools_says_nothing():
    world = Listing(listed(status(replica(pid=None, ready=False, phase="backoff"), ready=False, phase="backoff")))
    watch = invariants.Watch(world)
    assert world.asked_again.wait(10)
    assert (watch.stop(), world.take_faults()) == ([], [])
    assert watch.looks > 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (listed({"pool_id": "p"}), "KeyError: 'replicas'"),
        (Outcome(Protocol.HTTP, "list", True, 200, body=None), "TypeError"),
    ],
)
def test_what_ends_a_watch_is_told(answer, said):
    world = Listing(answer)
    watch = invariants.Watch(world)
    watch._thread.join(10)
    assert watch.stop() == ["no look at all pools was answered"]
    (fault,) = world.take_faults()
    assert "Watch._run ended early" in fault
    assert said in fault
    assert world.take_faults() == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (DaemonError("no daemon"), []),
        (Outcome(Protocol.HTTP, "list", False, 503, problem={"code": "SHUTTING_DOWN"}), []),
        (Outcome(Protocol.HTTP, "list", False, 500, problem={"code": "INTERNAL"}), ["list: 500: INTERNAL"]),
    ],
)
def test_a_watch_that_never_saw_the_pools_says_so(answer, said):
    world = Listing(answer)
    watch = invariants.Watch(world)
    assert world.asked_again.wait(10)
    assert watch.stop() == [*said, "no look at all pools was answered"]
    assert world.take_faults() == []


def test_what_ends_a_caller_is_told():
    world = Listing(Outcome(Protocol.HTTP, "acquire", True, 201, body={}))
    holder = Holder(world, "p", strict=True)
    holder._thread.join(10)
    assert holder.stop() == []
    (fault,) = world.take_faults()
    assert "Holder._run ended early" in fault
    assert "KeyError: 'lease_id'" in fault


def test_only_what_the_rules_leave_to_the_operator_may_rest_unready():
    def rests(code, phase, **details):
        down = replica(ready=False, pid=None, phase=phase, last_error={"code": code, "details": details})
        return invariants.rests(status(down, ready=False))

    assert rests("MODEL_NOT_FOUND", "failed")
    assert rests("ENGINE_EXITED", "stopped", exit_code=0)
    assert not rests("ENGINE_EXITED", "stopped", exit_code=3)
    assert not rests("GPU_UNAVAILABLE", "failed")
    assert not rests("ENGINE_EXITED", "backoff")


def test_a_seed_means_the_same_faults_again_and_another_one_others():
    assert plan.make(7, 3) == plan.make(7, 3) != plan.make(7, 4)
    assert Moment.make(7, 3) == Moment.make(7, 3) != Moment.make(8, 3)


def test_in_a_thousand_sequences_every_kind_of_fault_strikes_every_pool_and_gpu():
    steps = [step for number in range(1000) for step in plan.make(1, number).steps]
    assert {step.kind for step in steps} == {
        "signal", "exit", "crash_loop", "cuda_oom", "cuda_error", "stopped", "hangs", "unhealthy", "hiccup",
        "slow_load", "never_ready", "wrong_device", "offloads", "child", "port_race", "model_gone", "program_gone",
        "port_taken", "xid", "gpu_health", "gpu_lost", "gpu_gone", "memory_taken", "driver_fails", "drain", "undrain",
        "preload", "reload", "reset", "storm", "config", "daemon_killed", "daemon_restarted", "daemon_frozen",
        "disk_full",
    }  # fmt: skip
    assert {step.pool for step in steps} - {None} == set(BY_ID)
    assert {step.gpu for step in steps} - {None} == set(range(GPUS))


def test_there_are_twenty_pools_and_they_are_what_the_plan_thinks():
    assert len(POOLS) == len(BY_ID) == 20
    assert sum(len(pool.masks) for pool in POOLS) == REPLICAS
