"""One life of an engine process, from its plan to its end, and the digest that tells one spec from another."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pool_managerd.config import PoolConfig
from pool_managerd.core.failures import Failure
from pool_managerd.core.times import rfc3339
from pool_managerd.devices.memory import Need
from pool_managerd.devices.snapshot import DevicesSnapshot
from pool_managerd.engines.base import Engine, EngineSpec, redact
from pool_managerd.runtime.process import EngineProcess, ProcessIdentity

#: An engine that ends so many seconds after an XID on its device, or before it, has ended for it: the driver's message
#: and the process's end come in either order.
EXPLAINS_S = 2.0


@dataclass(frozen=True, slots=True)
class XidSign:
    """An XID on a device of an engine.

    :param reason: the XID and the device, in words.
    :param at: wall time in seconds since the epoch.
    """

    reason: str
    device: str
    at: float


@dataclass(slots=True)
class Run:
    """What is known of a replica's process.

    :param need: the planned memory; without shares where it is not known.
    :param before: the devices as they were before the load; ``None`` for an adopted engine.
    :param spawned_at: wall time in seconds; ``spawned_clock`` is the same on the loop's monotonic clock.
    :param log_offset: where this run's lines begin in the engine's log.
    :param ready_offset: where its log ended when it became Ready; what stands before is no reason of a later end.
    :param xid: the last XID on its devices that may have been its own.
    :param ended: what its end was judged to be.
    :param last_lines: by which of its log's lines; later ones are its successor's.
    :param tells_busy: it says how many of its slots are at work: then its silence does not mean that none is.
    :param heartbeat: wall time of the last good answer to a probe, or ``None`` before the first.
    """

    engine: Engine
    spec: EngineSpec
    digest: str
    need: Need
    before: DevicesSnapshot | None
    process: EngineProcess
    spawned_at: float
    spawned_clock: float
    log_offset: int
    adopted: bool = False
    was_ready: bool = False
    fixed_port: bool = False
    port_attempts: int = 0
    slots: int = 0
    tells_busy: bool = False
    version: str | None = None
    heartbeat: float | None = None
    probe_failures: int = 0
    failed_probes: list[str] = field(default_factory=list)
    ready_offset: int | None = None
    xid: XidSign | None = None
    ended: Failure | None = None
    last_lines: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where the engine answers."""
        host = self.spec.host
        return f"http://[{host}]:{self.spec.port}" if ":" in host else f"http://{host}:{self.spec.port}"

    @property
    def judged_from(self) -> int:
        """Where the lines begin that may tell what is wrong with it now."""
        return self.ready_offset if self.was_ready and self.ready_offset is not None else self.log_offset

    def note_ready(self, log: Path) -> None:
        """It became Ready, or was found so again; ``log`` is its log."""
        self.was_ready = True
        with contextlib.suppress(OSError):
            self.ready_offset = log.stat().st_size

    def beat(self, now: float) -> None:
        """Note a good answer."""
        self.heartbeat = now

    def note_failed_probe(self, now: float) -> None:
        """Note a bad answer or none: when, of all since the last good one."""
        earlier = self.failed_probes if self.probe_failures else []
        self.probe_failures += 1
        self.failed_probes = [*earlier, rfc3339(now)]

    def handoff(self) -> dict[str, Any]:
        """The handoff file's content: all that a client needs to use the engine."""
        identity = self.process.identity
        return {
            "engine": self.spec.kind,
            "engine_version": self.version,
            "url": self.url,
            "pool_id": self.spec.pool_id,
            "replica_id": self.spec.replica_id,
            "model": {"path": None if self.spec.model is None else str(self.spec.model)},
            "flags": redact(list(self.engine.command_line(self.spec))[1:]),
            "device_mask": list(self.spec.devices),
            "slots": self.slots,
            "pid": identity.pid,
            "start_ticks": identity.start_ticks,
            "boot_id": identity.boot_id,
            "spec_digest": identity.spec_digest,
        }

    def as_json(self) -> dict[str, Any]:
        """For the store: what another daemon needs to adopt this process."""
        identity = self.process.identity
        return {
            "identity": identity_as_json(identity),
            "digest": self.digest,
            "binary": str(self.spec.binary),
            "host": self.spec.host,
            "port": self.spec.port,
            "devices": list(self.spec.devices),
            "model": None if self.spec.model is None else str(self.spec.model),
            "slots": self.slots,
            "version": self.version,
            "spawned_at": self.spawned_at,
            "log_offset": self.log_offset,
            "was_ready": self.was_ready,
            "ready_offset": self.ready_offset,
        }


def identity_as_json(identity: ProcessIdentity) -> dict[str, Any]:
    """For the store and the handoff file."""
    return {
        "pid": identity.pid,
        "start_ticks": identity.start_ticks,
        "boot_id": identity.boot_id,
        "spec_digest": identity.spec_digest,
    }


def identity_from_json(doc: Mapping[str, Any]) -> ProcessIdentity:
    """The inverse of :func:`identity_as_json`; reads a handoff file's fields as well."""
    return ProcessIdentity(
        pid=int(doc["pid"]),
        start_ticks=int(doc["start_ticks"]),
        boot_id=str(doc["boot_id"]),
        spec_digest=str(doc["spec_digest"]),
    )


#: Environment variable by which a running engine says which plan it was started from; see :func:`plan_digest`.
PLAN_VARIABLE = "POOL_MANAGERD_PLAN"


def plan_digest(
    pool: PoolConfig, *, binary: Path, model: Path | None, devices: tuple[str, ...], split: tuple[float, ...]
) -> str:
    """What makes a process the engine that the config asks for: everything that it was started with but its port.

    A port from the range may differ from run to run; a configured one is part of the digest.
    """
    facts = {
        "engine": pool.engine,
        "binary": str(binary),
        "model": None if model is None else str(model),
        "command": list(pool.command),
        "args": list(pool.args),
        "env": dict(pool.env),
        "user": pool.user,
        "host": pool.host,
        "port": pool.port,
        "context": pool.context,
        "slots": pool.slots,
        "kv_type": pool.kv_type,
        "devices": list(devices),
        "split": list(split),
        "simulated": dict(pool.simulated),
        # A constant: engines that run were started with it in their digest, and are not restarted for its going.
        "readiness_path": None,
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
