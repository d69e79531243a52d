"""Metrics: every event kind counts, gauges follow the state, labels stay bounded, the text is valid."""

import asyncio
import re
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pool_managerd.core.errors import Code
from pool_managerd.core.events import Event, EventKind
from pool_managerd.core.status import BreakerStatus, DeviceStatus, PoolStatus, ReplicaStatus, VramStatus
from pool_managerd.devices.xid import XidClass
from pool_managerd.observe.bus import EventBus
from pool_managerd.observe.gauges import ReplicaGauges
from pool_managerd.observe.metrics import Metrics, crash_reason

RULES = Path(__file__).parents[2] / "packaging" / "prometheus" / "pool-managerd.rules.yml"
GPU = "GPU-11111111-2222-3333-4444-555555555555"


def breaker(state: str = "closed") -> BreakerStatus:
    return BreakerStatus("general", state, 0, 0, None)


class State:
    """A state source with one pool of one replica on one GPU."""

    def __init__(self):
        self.ready = True
        self.breaker = "closed"
        self.gauges = [
            ReplicaGauges("chat", "r0", "simulated", "1.0", (GPU,), 1_700_000_000.5, 3, vram_used={GPU: 42}, ram_used=7)
        ]
        self.broken = False
        self.looks = 0

    async def look(self):
        self.looks += 1
        if self.broken:
            raise RuntimeError("broken")

    def pools(self):
        if self.broken:
            raise RuntimeError("broken")
        replica = ReplicaStatus(
            "r0", "ready", True, self.ready, 12, "http://127.0.0.1:1", [GPU], [], "", False, 0, None,
            breaker(self.breaker), None,
        )  # fmt: skip
        return [
            PoolStatus(
                "chat", "simulated", "1.0", "m", "running", "ready", True, self.ready, False, [GPU], 4, 3, 1, 0, None,
                breaker(self.breaker), None, VramStatus(1, 1), [replica], 9,
            )
        ]  # fmt: skip

    def devices(self):
        return [DeviceStatus(GPU, 0, "GPU", 100, 58, 42, 10, "ok", "process", False, [])]

    def replica_gauges(self):
        return self.gauges

    def restart_rates(self):
        return {"chat": 2}

    def host_ram(self):
        return 1000, 400

    def store_available(self):
        return True


def event(kind: EventKind, *, pool_id: str | None = "chat", replica_id: str | None = "r0", **fields) -> Event:
    return Event(revision=1, at=0.0, kind=kind, pool_id=pool_id, replica_id=replica_id, **fields)


def values(metrics: Metrics) -> dict[str, float]:
    """All samples by ``name{label=value,…}``, the prefix left out."""
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name.removeprefix('pool_managerd_')}{{{labels}}}"] = sample.value
    return found


REPLICA = "pool_id=chat,replica_id=r0"


@pytest.mark.parametrize(
    ("fields", "sample", "value"),
    [
        ({"kind": EventKind.PHASE, "to": "preflight", "details": {"restart": True}}, f"restart_total{{{REPLICA}}}", 1),
        ({"kind": EventKind.POOL_READY}, "readiness_transitions_total{pool_id=chat,to=ready}", 1),
        ({"kind": EventKind.POOL_UNREADY}, "readiness_transitions_total{pool_id=chat,to=unready}", 1),
        (
            {"kind": EventKind.PRELOAD, "to": "ready", "details": {"engine": "simulated", "load_ms": 200}},
            f"preload_success_total{{engine=simulated,{REPLICA}}}",
            1,
        ),
        (
            {"kind": EventKind.PRELOAD, "to": "failed", "code": "READINESS_TIMEOUT"},
            "preload_failure_total{engine=simulated,pool_id=chat,reason=READINESS_TIMEOUT,replica_id=r0}",
            1,
        ),
        (
            {"kind": EventKind.PHASE, "from_": "ready", "to": "stopping", "code": "CROSS_MASK_SPILLOVER"},
            "spillover_total{pool_id=chat,reason=CROSS_MASK_SPILLOVER,replica_id=r0}",
            1,
        ),
        (
            {"kind": EventKind.PHASE, "from_": "ready", "to": "stopping", "code": "ENGINE_EXITED"},
            "spillover_total{pool_id=chat,reason=CPU_SPILLOVER,replica_id=r0}",
            0,
        ),
        (
            {"kind": EventKind.DRAIN, "to": "drained", "details": {"waited_ms": 1500}},
            "drain_duration_seconds_sum{pool_id=chat}",
            1.5,
        ),
        ({"kind": EventKind.DRAIN, "to": "forced"}, "drain_duration_seconds_count{pool_id=chat}", 1),
        ({"kind": EventKind.DRAIN, "to": "cancelled"}, "drain_total{outcome=cancelled,pool_id=chat}", 1),
        ({"kind": EventKind.RELOAD, "to": "done"}, "reload_success_total{pool_id=chat}", 1),
        (
            {"kind": EventKind.RELOAD, "to": "done", "details": {"duration_ms": 2000}},
            "reload_duration_seconds_sum{pool_id=chat}",
            2,
        ),
        (
            {
                "kind": EventKind.RELOAD,
                "to": "failed",
                "code": "RELOAD_FAILED",
                "details": {"cause": "MODEL_NOT_FOUND"},
            },
            "reload_failure_total{pool_id=chat,reason=MODEL_NOT_FOUND}",
            1,
        ),
        (
            {"kind": EventKind.RELOAD, "to": "failed", "code": "DRAIN_TIMEOUT"},
            "reload_failure_total{pool_id=chat,reason=DRAIN_TIMEOUT}",
            1,
        ),
        ({"kind": EventKind.LEASE, "details": {"action": "granted"}}, "lease_granted_total{pool_id=chat}", 1),
        ({"kind": EventKind.LEASE, "details": {"action": "expired"}}, "lease_expired_total{pool_id=chat}", 1),
        (
            {"kind": EventKind.LEASE, "code": "NO_FREE_SLOT", "details": {"action": "refused"}},
            "lease_refused_total{pool_id=chat,reason=NO_FREE_SLOT}",
            1,
        ),
        (
            {"kind": EventKind.RESTART_SCHEDULED, "details": {"crash_reason": "SIGSEGV", "backoff_ms": 500}},
            f"restart_scheduled_total{{crash_reason=SIGSEGV,{REPLICA}}}",
            1,
        ),
        (
            {"kind": EventKind.RESTART_SCHEDULED, "details": {"crash_reason": "SIGSEGV", "backoff_ms": 500}},
            "backoff_delay_seconds_sum{pool_id=chat}",
            0.5,
        ),
        ({"kind": EventKind.BREAKER, "to": "open"}, f"circuit_breaker_open_total{{{REPLICA}}}", 1),
        ({"kind": EventKind.BREAKER, "to": "closed"}, f"circuit_breaker_open_total{{{REPLICA}}}", 0),
        ({"kind": EventKind.STORM, "to": "opened"}, "restart_storm_total{pool_id=chat}", 1),
        (
            {"kind": EventKind.DEVICE, "device": GPU, "to": "lost"},
            f"device_health_transitions_total{{device={GPU},to=lost}}",
            1,
        ),
        (
            {"kind": EventKind.XID, "device": GPU, "details": {"xid_class": "ignore"}},
            f"xid_total{{device={GPU},xid_class=ignore}}",
            1,
        ),
        (
            {"kind": EventKind.XID, "device": GPU, "details": {"xid_class": "reset"}},
            f"driver_reset_total{{device={GPU}}}",
            1,
        ),
        ({"kind": EventKind.CONFIG, "to": "refused"}, "config_reload_total{outcome=refused}", 1),
        ({"kind": EventKind.ADOPTED}, f"adopted_total{{{REPLICA}}}", 1),
    ],
)
def test_an_event_raises_its_metric(fields, sample, value):
    metrics = Metrics()
    metrics.add_pool("chat", engine="simulated", replica_ids=["r0"])
    metrics.on_event(event(**fields))
    assert values(metrics)[sample] == value


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_counts_and_none_needs_details(kind):
    metrics = Metrics(State())
    metrics.on_event(event(kind))
    assert values(metrics)[f"events_total{{kind={kind}}}"] == 1


@pytest.mark.parametrize("xid_class", ["ignore", "unknown", "application"])
def test_an_xid_that_needs_no_reset_is_no_driver_reset(xid_class):
    metrics = Metrics()
    metrics.on_event(event(EventKind.XID, device=GPU, details={"xid_class": xid_class, "needs_reset": False}))
    assert "driver_reset" not in " ".join(values(metrics))


def test_a_known_gpu_has_its_series_before_its_first_xid():
    metrics = Metrics()
    metrics.add_device(GPU)
    got = values(metrics)
    assert got[f"driver_reset_total{{device={GPU}}}"] == 0
    assert {got[f"xid_total{{device={GPU},xid_class={xid_class}}}"] for xid_class in XidClass} == {0}


async def test_a_gpu_that_came_later_has_its_series_before_its_first_xid():
    state = State()
    metrics = Metrics(state)
    await metrics.scrape()
    late = replace(state.devices()[0], uuid="GPU-late")
    state.devices = lambda: [late]
    assert b'driver_reset_total{device="GPU-late"} 0.0' in await metrics.scrape()


async def test_gpus_that_cannot_be_read_do_not_end_a_scrape(caplog):
    state = State()
    state.devices = lambda: 1 / 0
    assert b"pool_ready" in await Metrics(state).scrape()
    assert "could not be read" in caplog.text


#: What an alert asks the increase of: it sees a first one only where the series stood at 0 before.
ALERTED = sorted(set(re.findall(r"increase\(pool_managerd_(\w+?)(?:{(.+?)})?\[", RULES.read_text())))


@pytest.mark.parametrize(("name", "selector"), ALERTED)
async def test_what_an_alert_waits_for_begins_at_zero(name, selector):
    state = State()
    metrics = Metrics(state, bus=EventBus(lambda: 0.0, 1, lambda _: None))
    metrics.add_pool("chat", engine="simulated", replica_ids=["r0"])
    await metrics.scrape()
    state.gauges = [ReplicaGauges("chat", "r0")]
    got = {sample: value for sample, value in values(metrics).items() if sample.startswith(f"{name}{{")}
    wanted = re.findall(r"[A-Z_]+|(?<=\")[a-z]+(?=\")", selector) or [""]
    for word in wanted:
        assert [value for sample, value in got.items() if word in sample], (name, word)
    assert set(got.values()) == {0}


@pytest.mark.parametrize("cause", ["MODEL_NOT_FOUND", "ENGINE_EXITED", "DRAIN_TIMEOUT", "CPU_SPILLOVER", "INTERNAL"])
def test_a_reload_that_fails_for_the_first_time_is_a_rise(cause):
    metrics = Metrics()
    metrics.add_pool("chat", engine="simulated", replica_ids=["r0"])
    sample = f"reload_failure_total{{pool_id=chat,reason={cause}}}"
    assert values(metrics)[sample] == 0
    metrics.on_event(event(EventKind.RELOAD, to="failed", code="RELOAD_FAILED", details={"cause": cause}))
    assert values(metrics)[sample] == 1


def test_a_forgotten_gpu_has_no_series_any_more():
    metrics = Metrics()
    metrics.add_device(GPU)
    for to in ("lost", "forgotten"):
        metrics.on_event(event(EventKind.DEVICE, pool_id=None, replica_id=None, device=GPU, to=to))
    assert not [sample for sample in values(metrics) if GPU in sample]


async def test_what_is_measured_for_a_scrape_only_is_looked_at_first_and_may_fail(caplog):
    state = State()
    metrics = Metrics(state)
    assert b"pool_ready" in await metrics.scrape()
    assert state.looks == 1
    state.broken = True
    assert b"vram_total_bytes" in await metrics.scrape()
    assert "could not be read" in caplog.text


async def test_making_a_long_text_does_not_hold_up_the_loop(monkeypatch):
    metrics = Metrics(State())
    may_end = threading.Event()
    monkeypatch.setattr(metrics, "_text", lambda _: b"text" if may_end.wait(5) else b"the loop stood still")
    scrape = asyncio.create_task(metrics.scrape())
    asyncio.get_running_loop().call_later(0.02, may_end.set)
    assert await scrape == b"text"


def test_an_adoption_is_no_restart():
    metrics = Metrics()
    metrics.add_pool("chat", engine="simulated", replica_ids=["r0"])
    metrics.on_event(event(EventKind.ADOPTED))
    metrics.on_event(event(EventKind.PHASE, to="ready", details={"adopted": True}))
    assert values(metrics)[f"restart_total{{{REPLICA}}}"] == 0


def test_gauges_show_the_state_at_the_scrape():
    state = State()
    bus = EventBus(lambda: 0.0, 1, lambda _: None)
    metrics = Metrics(state, bus=bus, version="1.2.3")
    got = values(metrics)
    assert got["pool_ready{pool_id=chat}"] == 1
    assert got["slots{pool_id=chat}"] == 4
    assert got["slots_free{pool_id=chat}"] == 3
    assert got["active_leases{pool_id=chat}"] == 1
    assert got[f"last_heartbeat_timestamp_seconds{{{REPLICA}}}"] == 1_700_000_000.5
    assert got[f"vram_used_bytes{{device={GPU},{REPLICA}}}"] == 42
    assert got[f"ram_used_bytes{{{REPLICA}}}"] == 7
    assert got[f"vram_total_bytes{{device={GPU}}}"] == 100
    assert got[f"vram_free_bytes{{device={GPU}}}"] == 58
    assert got["restart_rate{pool_id=chat}"] == 2
    assert got[f"probe_failures_total{{{REPLICA}}}"] == 3
    assert got[f"device_info{{device={GPU},index=0,name=GPU}}"] == 1
    assert got[f"replica_info{{device={GPU},engine=simulated,engine_version=1.0,{REPLICA}}}"] == 1
    assert got["host_ram_total_bytes{}"] == 1000
    assert got["build_info{version=1.2.3}"] == 1
    assert got["process_resident_memory_bytes{}"] > 0
    state.ready, state.breaker, state.gauges = False, "half_open", [ReplicaGauges("chat", "r0")]
    bus.publish(EventKind.DAEMON, to="started")
    got = values(metrics)
    assert got["pool_ready{pool_id=chat}"] == 0
    assert got[f"circuit_breaker_state{{{REPLICA}}}"] == 2
    assert got["event_revision{}"] == 1
    assert not [name for name in got if "heartbeat" in name or "ram_used_bytes{pool" in name]


def test_a_part_that_fails_is_left_out_and_the_rest_is_shown(caplog):
    state = State()
    state.broken = True
    got = values(Metrics(state))
    assert got[f"vram_total_bytes{{device={GPU}}}"] == 100
    assert "pool_ready{pool_id=chat}" not in got
    assert "could not be read" in caplog.text


def test_the_series_of_a_removed_pool_are_gone_and_stay_gone():
    metrics = Metrics()
    for pool_id in ("chat", "other"):
        metrics.add_pool(pool_id, engine="simulated", replica_ids=["r0"])
        metrics.on_event(event(EventKind.PRELOAD, pool_id=pool_id, to="ready"))
    metrics.on_event(
        event(EventKind.CONFIG, pool_id=None, replica_id=None, to="reloaded", details={"removed": ["chat"]})
    )
    metrics.on_event(event(EventKind.PRELOAD, to="failed", code="ENGINE_EXITED"))
    assert not [name for name in values(metrics) if "pool_id=chat" in name]
    assert [name for name in values(metrics) if "pool_id=other" in name]
    metrics.add_pool("chat", engine="simulated", replica_ids=["r0"])
    metrics.on_event(event(EventKind.PRELOAD, to="ready"))
    assert values(metrics)[f"preload_success_total{{engine=simulated,{REPLICA}}}"] == 1


def test_what_callers_choose_adds_no_series():
    metrics = Metrics(State())
    metrics.add_pool("chat", engine="simulated", replica_ids=["r0"])

    def mischief(number: int) -> None:
        metrics.on_event(
            event(EventKind.LEASE, pool_id=f"x{number}", code="POOL_NOT_FOUND", details={"action": "refused"})
        )
        metrics.on_event(event(EventKind.LEASE, code=f"CODE{number}", details={"action": "refused"}))
        metrics.on_event(event(EventKind.LEASE, details={"action": "granted", "lease_id": f"l{number}"}))
        metrics.on_event(event(EventKind.LEASE, details={"action": f"do{number}"}))
        metrics.on_event(event(EventKind.RESTART_SCHEDULED, details={"crash_reason": f"because {number}"}))
        metrics.on_event(event(EventKind.XID, device=GPU, details={"xid_class": f"c{number}", "xid": number}))

    mischief(0)
    before = values(metrics).keys()
    for number in range(1, 100):
        mischief(number)
    assert values(metrics).keys() == before


@pytest.mark.parametrize(
    ("cause", "label"),
    [
        ("SIGKILL", "SIGKILL"),
        ("SIGRTMIN+3", "SIGRTMIN+3"),
        ("SIGNONSENSE", "other"),
        ("exit code 3", "exit_code"),
        ("exit_code", "exit_code"),
        ("insufficient_vram", "insufficient_vram"),
        ("health_check", "health_check"),
        (None, "unknown"),
        ("whatever", "other"),
    ],
)
def test_crash_reasons_are_a_closed_list(cause, label):
    assert crash_reason(cause) == label


def everything() -> bytes:
    metrics = Metrics(State(), bus=EventBus(lambda: 0.0, 1, lambda _: None), version="1")
    metrics.add_pool("chat", engine="simulated", replica_ids=["r0"])
    for kind in EventKind:
        for to in ("ready", "failed", "drained", "done", "open"):
            metrics.on_event(event(kind, to=to, device=GPU, code=Code.ENGINE_EXITED, details={"action": "refused"}))
    return metrics.render()


def test_every_family_has_help_type_prefix_and_only_counters_end_in_total():
    text = everything().decode()
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert families.keys() == set(re.findall(r"^# HELP (\S+) \S", text, re.MULTILINE))
    assert all(name.startswith("pool_managerd_") for name in families)
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in families.items())
    assert not [name for name in families if name.endswith("_created")]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not installed")
def test_promtool_has_nothing_to_say():
    done = subprocess.run(["promtool", "check", "metrics"], input=everything(), capture_output=True, check=False)
    assert (done.stdout + done.stderr).decode() == ""
    assert done.returncode == 0


def test_the_documentation_names_every_metric():
    text = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
    families = re.findall(r"^# TYPE pool_managerd_(\S+) ", everything().decode(), re.MULTILINE)
    assert [name for name in families if f"`{name}" not in text] == []
