"""Where a config's pools would go on this host, told without a daemon.

Memory of engines that run now under a daemon of this host counts as free, as if the host were started anew with
this config; memory of any other process does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pool_managerd.cli.common import format_bytes
from pool_managerd.cli.host import engine_pids
from pool_managerd.config import EVEN_SPLIT_ONLY, Config, PoolConfig
from pool_managerd.devices.need import Need, need_of
from pool_managerd.devices.placement import Placement, as_if_empty, plan
from pool_managerd.devices.ram import host_ram_available
from pool_managerd.devices.sizes import human
from pool_managerd.devices.snapshot import DevicesSnapshot
from pool_managerd.runtime.files import StateDir
from pool_managerd.runtime.learned import read_learned

#: The table's columns.
COLUMNS = (
    "POOL",
    "REPLICA",
    "GPU",
    "UUID",
    "RATIO",
    "WEIGHTS",
    "KV CACHE",
    "NEED",
    "BASIS",
    "RESERVED",
    "FREE",
    "VERDICT",
)


def make_plan(config: Config, snapshot: DevicesSnapshot) -> list[Placement]:
    """Place all replicas in the order of the config; what daemons of its state directory have measured counts."""
    learned = read_learned(StateDir(config.server.state_dir).database, config.devices.overhead_bytes)

    def need(pool: PoolConfig, model: Path | None, devices: Sequence[str], split: Sequence[float]) -> Need:
        found = [snapshot.by_uuid[uuid] for uuid in devices]
        return learned(pool, model, found, split, need_of(pool, model, devices, split))

    return plan(
        config.pools,
        as_if_empty(snapshot, engine_pids(snapshot)),
        config.devices.overhead_bytes,
        ram=host_ram_available(),
        even_only=EVEN_SPLIT_ONLY,
        need=need,
    )


def table_row(row: Placement) -> tuple[str, ...]:
    """A line of the table, as :data:`COLUMNS`."""
    return (
        row.pool_id,
        row.replica_id,
        "-" if row.index is None else str(row.index),
        row.device or "-",
        "-" if row.ratio is None else f"{row.ratio:.6f}",
        format_bytes(row.weights_bytes),
        format_bytes(row.kv_bytes),
        format_bytes(row.need_bytes),
        row.basis,
        format_bytes(row.reserved_bytes),
        format_bytes(row.free_bytes),
        row.verdict,
    )


def summary(rows: list[Placement], overhead: int) -> list[str]:
    """What the table comes to: the last lines, which name what is short and what would help."""
    bad = [row for row in rows if not row.fits]
    if not bad:
        return [f"All pools fit; {human(overhead)} stay free on each GPU."]
    said = [f"Not all pools fit; {human(overhead)} stay free on each GPU."]
    for pool_id, replica_id in dict.fromkeys((row.pool_id, row.replica_id) for row in bad):
        mine = [row for row in bad if (row.pool_id, row.replica_id) == (pool_id, replica_id)]
        short = max(mine, key=lambda row: row.missing_bytes)
        where = "" if short.index is None else f" on GPU {short.index} ({short.device})"
        said.append(f"{pool_id} {replica_id}{where}: {short.verdict}" + (f"; {short.hint}" if short.hint else ""))
    return said
