"""The lease book, the drain's verdict and a pool's phase."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_managerd.core.drain import DrainVerdict, judge_drain
from pool_managerd.core.errors import CODES, Code, PoolManagerError
from pool_managerd.core.failures import Failure, FailureClass
from pool_managerd.core.leases import REMEMBERED, Lease, LeaseBook, LeaseEnd, choose_replica
from pool_managerd.core.phases import POOL_ORDER, Phase, pool_phase

ids = st.sampled_from([f"lease-{number}" for number in range(6)])
replicas = st.sampled_from(["r0", "r1"])


#: The wall clock of these tests is so far ahead of their monotonic clock.
AHEAD = 1_700_000_000.0


def lease(lease_id, replica_id="r0", ends_at=100.0):
    return Lease(lease_id, "p", replica_id, None, 30_000, AHEAD + ends_at, ends_at)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("grant"), ids, replicas),
        st.tuples(st.just("end"), ids, st.sampled_from(LeaseEnd)),
        st.tuples(st.just("renew"), ids, st.integers(1, 60_000)),
        st.tuples(st.just("due"), st.floats(0, 100), st.none()),
    ),
    max_size=60,
)


@given(operations)
def test_the_book_agrees_with_a_plain_set_of_what_was_granted_and_not_ended(todo):
    book, model, ended = LeaseBook("p"), {}, set()
    for what, key, more in todo:
        if what == "grant":
            if key in model or key in ended:
                continue  # ids are random and never given twice
            book.add(lease(key, more))
            model[key] = more
        elif what == "end":
            if key not in model and key not in ended:
                with pytest.raises(PoolManagerError) as refused:
                    book.end(key, more, "why")
                assert refused.value.code is Code.LEASE_NOT_FOUND
                continue
            found = book.end(key, more, "why")
            assert (found is not None) == (key in model)
            model.pop(key, None)
            ended.add(key)
        elif what == "renew":
            if key in model:
                renewed = book.renewed(key, now=50.0, wall=AHEAD, ttl_ms=more)
                assert (renewed.ends_at, renewed.expires_at) == (50.0 + more / 1000, AHEAD + more / 1000)
                book.add(renewed)
            else:
                with pytest.raises(PoolManagerError) as refused:
                    book.renewed(key, now=50.0, wall=AHEAD, ttl_ms=more)
                assert refused.value.details["reason"] == ("why" if key in ended else "unknown lease")
        else:
            assert all(one.ends_at <= key for one in book.due(key))
        assert len(book) == len(model) == sum(book.used().values())
        assert {one.lease_id: one.replica_id for one in book.active()} == model
        assert sum(len(book.on_replica(replica)) for replica in ("r0", "r1")) == len(model)
        assert book.next_expiry() == min((one.ends_at for one in book.active()), default=None)


@given(st.dictionaries(replicas, st.integers(1, 4), min_size=1), st.integers(0, 10))
def test_grants_alone_fill_every_slot_once_and_stay_balanced(slots, count):
    used = dict.fromkeys(slots, 0)
    for _ in range(count):
        chosen = choose_replica(slots, used)
        if chosen is None:
            assert used == slots
            break
        used[chosen] += 1
        assert used[chosen] <= slots[chosen]
        if len(set(slots.values())) == 1:
            assert max(used.values()) - min(used.values()) <= 1


def test_the_memory_of_ended_leases_is_bounded():
    book = LeaseBook("p")
    for number in range(REMEMBERED + 10):
        book.add(lease(str(number)))
        book.end(str(number), LeaseEnd.RELEASED, "done")
    assert book.end(str(REMEMBERED), LeaseEnd.RELEASED, "again") is None
    with pytest.raises(PoolManagerError):
        book.end("0", LeaseEnd.RELEASED, "again")


def test_a_lease_whose_time_is_over_is_not_renewed_though_nothing_has_ended_it_yet():
    book = LeaseBook("p")
    book.add(lease("late", ends_at=10.0))
    assert book.renewed("late", now=9.9, wall=AHEAD, ttl_ms=None).ends_at == 39.9
    with pytest.raises(PoolManagerError) as refused:
        book.renewed("late", now=10.0, wall=AHEAD, ttl_ms=None)
    assert (refused.value.code, refused.value.details["ended"]) == (Code.LEASE_NOT_FOUND, "expired")
    assert [one.lease_id for one in book.due(10.0)] == ["late"]


@given(st.builds(lease, ids, replicas, st.floats(0, 1e6)), st.floats(0, 1e6), st.floats(-1e5, 1e5))
def test_a_lease_survives_the_store_and_ends_by_the_wall_clock_but_never_later_than_its_ttl(granted, now, left):
    found = Lease.from_json(granted.as_json(), now=now, wall=granted.expires_at - left)
    assert found.as_json() == granted.as_json()
    assert found.ends_at == pytest.approx(now + min(left, 30.0), abs=1e-3)


@given(st.integers(0, 5), st.none() | st.integers(0, 5), st.floats(0, 100), st.floats(0, 100))
def test_a_drain_waits_for_work_until_its_deadline_and_says_why(active, busy, now, deadline):
    decision = judge_drain(active_leases=active, busy_slots=busy, now=now, deadline=deadline)
    assert decision.reason
    idle = active == 0 and not busy
    assert (decision.verdict is DrainVerdict.DRAINED) == idle
    if not idle:
        assert (decision.verdict is DrainVerdict.DEADLINE) == (now >= deadline)


@given(st.lists(st.sampled_from(Phase), min_size=1, max_size=5), st.integers(1, 5))
def test_a_pools_phase_is_ready_or_the_one_furthest_along(phases, min_ready):
    min_ready = min(min_ready, len(phases))
    phase = pool_phase(phases, min_ready=min_ready)
    if phases.count(Phase.READY) >= min_ready:
        assert phase is Phase.READY
    else:
        others = [one for one in phases if one is not Phase.READY]
        assert phase is min(others, key=POOL_ORDER.index)


@given(st.sampled_from(Code), st.text(min_size=1), st.none() | st.text(), st.floats(0, 2e9))
def test_a_failure_shows_its_code_text_time_and_hint(code, message, hint, at):
    failure = Failure.from_error(PoolManagerError(code, message, hint=hint, details={"a": 1}))
    shown = failure.last_error(at)
    assert (shown.code, shown.message, shown.hint) == (code, message, hint)
    assert shown.retriable is CODES[code].retriable
    assert shown.details == {"a": 1, "cause": failure.cause}
    assert shown.at.endswith("Z")
    assert isinstance(failure.failure_class, FailureClass)
