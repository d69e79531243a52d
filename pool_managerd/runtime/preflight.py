"""Everything that is checked before anything is spawned, cheapest first. A refusal takes milliseconds.

Binary, arguments, devices by mask, split, model file, GPU memory per device, host memory, port. What passes is a
:class:`Plan`, and its memory is reserved in the same moment in which it was found free.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pool_managerd.config import PoolConfig
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.mask import resolve_mask
from pool_managerd.devices.memory import (
    HostRam,
    Need,
    advise,
    check_usable,
    host_ram_available,
    need_of,
)
from pool_managerd.devices.placement import check_fit
from pool_managerd.devices.snapshot import Device, DevicesSnapshot
from pool_managerd.devices.split import normalise_split
from pool_managerd.engines import get_engine
from pool_managerd.engines.base import Engine, EngineSpec
from pool_managerd.runtime.engine_sockets import socket_environment
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.learned import key_of_pool
from pool_managerd.runtime.run import plan_digest
from pool_managerd.runtime.sockets import port_holder


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be spawned. The port is chosen last, just before the spawn.

    :param need: planned memory; without shares where nobody can tell.
    """

    engine: Engine
    spec: EngineSpec
    digest: str
    need: Need
    before: DevicesSnapshot


@dataclass(frozen=True, slots=True)
class Target:
    """Which replica, on which model; ``version`` is that of its engine, where it ran before."""

    pool: PoolConfig
    replica_id: str
    model: Path | None
    version: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Names the replica in the ledger of reservations."""
        return (self.pool.id, self.replica_id)

    @property
    def mask(self) -> tuple[str, ...]:
        """The replica's own mask as configured; empty if none is.

        :raises PoolManagerError: INVALID_DEVICE_MASK if the config has meanwhile fewer replicas.
        """
        if self.replica_id not in self.pool.replica_ids:
            raise PoolManagerError(
                Code.INVALID_DEVICE_MASK, f"pool {self.pool.id} has no replica {self.replica_id} any more"
            )
        return self.pool.masks[self.pool.replica_ids.index(self.replica_id)]


def find_binary(pool: PoolConfig, engine: Engine) -> Path:
    """The absolute path of the pool's binary.

    :raises PoolManagerError: ENGINE_NOT_FOUND naming the path.
    """
    path = _binary_path(pool, engine)
    problem = None
    try:
        if not path.exists():
            problem = "does not exist"
        elif not path.is_file():
            problem = "is not a file"
        elif not os.access(path, os.X_OK):
            problem = "is not executable"
    except OSError as error:  # a folder on the way may not be entered, or the name is too long
        problem = f"cannot be reached ({error.strerror})"
    if problem is not None:
        raise PoolManagerError(
            Code.ENGINE_NOT_FOUND,
            f"pool {pool.id}: engine binary {str(path)!r} {problem}",
            hint="set `binary` to an existing, executable file, then preload the pool",
            details={"path": str(path), "problem": problem},
        )
    return path


def _binary_path(pool: PoolConfig, engine: Engine) -> Path:
    """Where the pool's binary should be; one without a path is looked for on PATH.

    :raises PoolManagerError: ENGINE_NOT_FOUND naming what was looked for.
    """
    asked = engine.program(pool)
    if asked is None:
        raise PoolManagerError(
            Code.ENGINE_NOT_FOUND,
            f"pool {pool.id}: engine kind {pool.engine} has no program of its own",
            hint="set `binary` to the program's path",
            details={"path": None},
        )
    path = Path(asked)
    if os.sep not in str(asked):
        found = shutil.which(str(asked))
        if found is None:
            raise PoolManagerError(
                Code.ENGINE_NOT_FOUND,
                f"pool {pool.id}: engine binary {str(asked)!r} is not on PATH",
                hint="install the engine, or set `binary` to its path, then preload the pool",
                details={"path": str(asked)},
            )
        path = Path(found).absolute()
    return path


def make_spec(host: Host, target: Target, binary: Path, devices: tuple[Device, ...], need: Need) -> EngineSpec:
    """The spec of the replica, with port 0: that one is chosen just before the spawn."""
    pool = target.pool
    settings = host.config.devices
    return EngineSpec(
        pool_id=pool.id,
        replica_id=target.replica_id,
        kind=pool.engine,
        binary=binary,
        model=target.model,
        host=pool.host,
        port=pool.port,
        slots=pool.slots,
        context=pool.context,
        kv_type=pool.kv_type,
        args=pool.args,
        command=pool.command,
        devices=tuple(device.uuid for device in devices),
        split=normalise_split(pool.tensor_split, len(devices)),
        simulated=dict(pool.simulated),
        simulated_dir=settings.simulated_dir if settings.source == "simulated" else None,
        need=dict(need.per_device),
    )


def plan_for_adoption(
    host: Host, target: Target, snapshot: DevicesSnapshot, *, started_as: Path | None, need: Need | None
) -> Plan:
    """What would be spawned now, for telling whether a running engine is it.

    Neither whether it fits is judged nor whether its files are still there: the engine that runs has no need of them.

    :param started_as: the running engine's binary, where that is known: it counts if it is no longer on PATH.
    :param need: its planned memory, where that is known.
    :raises PoolManagerError: if the config asks for what cannot be, such as a device that is not there.
    """
    engine = get_engine(target.pool.engine)
    try:
        binary = _binary_path(target.pool, engine)
    except PoolManagerError:
        if started_as is None or engine.program(target.pool) != started_as.name:
            raise
        binary = started_as
    devices = resolve_mask(target.mask, snapshot, absent="unavailable")
    uuids = tuple(device.uuid for device in devices)
    split = normalise_split(target.pool.tensor_split, len(devices))
    if need is None:
        try:
            need = need_of(target.pool, target.model, uuids, split)
        except PoolManagerError:
            need = Need((), 0, "unknown")
    spec = make_spec(host, target, binary, devices, need)
    digest = plan_digest(target.pool, binary=binary, model=target.model, devices=spec.devices, split=spec.split)
    return Plan(engine, spec, digest, need, snapshot)


async def check(
    host: Host,
    target: Target,
    *,
    reserve: bool = True,
    replacing: frozenset[int] = frozenset(),
    on_need: Callable[[Need], None] = lambda _: None,
) -> Plan:
    """All checks before a start; see the module's text.

    :param reserve: enter the need into the ledger (a look ahead does not).
    :param replacing: pids whose memory counts as free, because they are going to be replaced.
    :param on_need: told the need as soon as it is known, also where it does not fit.
    :raises PoolManagerError: the first thing that is wrong.
    """
    pool = target.pool
    engine = get_engine(pool.engine)
    binary = find_binary(pool, engine)
    engine.check_args(pool)
    socket_environment(host, pool, target.replica_id, engine)
    snapshot = await host.inventory.refresh()
    devices = resolve_mask(target.mask, snapshot, absent="unavailable")
    host.mask_uses.check(pool.id, host.config, snapshot)
    split = normalise_split(pool.tensor_split, len(devices))
    uuids = tuple(device.uuid for device in devices)
    check_devices(host, uuids, snapshot)
    need, ram, key = await asyncio.to_thread(_read_files, engine, pool, target.model, devices, split)
    overhead = host.config.devices.overhead_bytes
    need = host.learned.apply(key, pool.engine_version or target.version, need, devices, split, overhead)
    on_need(need)
    # No await between the fit and the reservation: two replicas can't both find the same bytes free.
    snapshot = host.inventory.snapshot
    try:
        check_fit(need, snapshot, host.reservations, overhead, ram=ram, key=target.key, releasing=replacing)
    except PoolManagerError as error:
        if reserve or replacing:
            await asyncio.to_thread(advise, error, pool, target.model, need)
        raise
    if reserve:
        host.reservations.reserve(target.key, need.per_device, ram=need.ram)
    spec = make_spec(host, target, binary, devices, need)
    digest = plan_digest(pool, binary=binary, model=target.model, devices=spec.devices, split=spec.split)
    return Plan(engine, spec, digest, need, snapshot)


def check_devices(host: Host, uuids: tuple[str, ...], snapshot: DevicesSnapshot) -> None:
    """Whether something may be started, or go on, on these devices.

    :raises PoolManagerError: GPU_UNAVAILABLE if one is lost, in quarantine or not well.
    """
    check_usable(uuids, snapshot, quarantined=host.quarantined)
    for uuid in uuids:
        device = snapshot.by_uuid.get(uuid)
        if device is not None and uuid in host.lost:
            raise PoolManagerError(
                Code.GPU_UNAVAILABLE,
                f"{device.label()} was lost, as an XID said",
                hint="the pool starts by itself once the GPU is back; a lost GPU usually takes a restart of the host.",
                details={"device": device.uuid, "health": "lost", "recovery_action": device.recovery_action},
            )


def _read_files(
    engine: Engine, pool: PoolConfig, model: Path | None, devices: tuple[Device, ...], split: tuple[float, ...]
) -> tuple[Need, HostRam, str | None]:
    """What needs the disk, or /proc: for a thread. Third: by what the need is remembered."""
    if model is not None:
        engine.check_model(model)
    need = need_of(pool, model, [device.uuid for device in devices], split)
    return need, host_ram_available(), key_of_pool(pool, model, split, [device.total for device in devices])


def choose_port(host: Host, address: str) -> int:
    """A port of the range that is free and that no pool is configured to have.

    :raises PoolManagerError: SPAWN_FAILED if there is none.
    """
    configured = {pool.port for pool in host.config.pools}
    passed_over = []
    try:
        while (port := host.ports.allocate(address)) in configured:
            passed_over.append(port)
    finally:
        for one in passed_over:
            host.ports.release(one)
    return port


async def with_port(host: Host, plan: Plan) -> Plan:
    """Choose the port.

    :raises PoolManagerError: SPAWN_FAILED naming a configured port that is taken, and its holder.
    """
    configured = plan.spec.port
    if configured == 0:
        return replace(plan, spec=replace(plan.spec, port=choose_port(host, plan.spec.host)))
    holder = await asyncio.to_thread(port_holder, plan.spec.host, configured)
    if holder is not None:
        held_by = f" by pid {holder.pid}" if holder.pid else ""
        raise PoolManagerError(
            Code.SPAWN_FAILED,
            f"pool {plan.spec.pool_id}: port {configured} on {plan.spec.host} is taken{held_by}",
            hint="free the port, or set `port = 0` for one from port_range; it is looked at again every 500 ms",
            details={"port": configured, "host": plan.spec.host, "holder_pid": holder.pid},
        )
    return plan
