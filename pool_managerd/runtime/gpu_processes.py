"""Which replica the processes on the GPUs belong to: by their pids, their kin and their environment marker.

Only the few processes that NVML lists are looked at, not the whole process table: about 40 µs each.
"""

from __future__ import annotations

from collections.abc import Iterable

from pool_managerd.devices.reservations import Key, Reservations
from pool_managerd.devices.snapshot import DevicesSnapshot
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.identity import MARKER_VARIABLE, ProcStat, environ_value, read_environ, read_stat
from pool_managerd.runtime.run import Run


def key_of(run: Run) -> Key:
    """Names the run's replica in the ledger of reservations."""
    return (run.spec.pool_id, run.spec.replica_id)


def gpu_processes(runs: Iterable[Run], snapshot: DevicesSnapshot, known: Reservations) -> dict[int, Key]:
    """The replica of every process that NVML lists on any GPU and that is of one of these runs, and of each main one.

    :param known: the ledger. It tells which processes are other replicas' without a look at them, and whose a process
        was that has ended and is still listed.
    """
    own = {run.process.pid: run for run in runs}
    marked = {run.process.marker: run for run in own.values() if run.process.marker}
    found = {pid: key_of(run) for pid, run in own.items()}
    wanted = set(found.values())
    for pid in {process.pid for device in snapshot.devices for process in device.processes} - found.keys():
        owner = known.owner_of(pid)
        if owner is not None and owner not in wanted:
            continue
        stat = read_stat(pid)
        if stat is None or stat.ended:
            key = owner
        else:
            run = _kin_of(stat, own, marked)
            key = None if run is None else key_of(run)
        if key is not None:
            found[pid] = key
    return found


def gpu_pids_of(host: Host, run: Run, snapshot: DevicesSnapshot) -> set[int]:
    """The engine's own processes among those that hold memory on any GPU, and its main process."""
    return set(gpu_processes([run], snapshot, host.reservations))


def _kin_of(stat: ProcStat, own: dict[int, Run], marked: dict[str, Run]) -> Run | None:
    run = own.get(stat.session) or own.get(stat.pgrp) or own.get(stat.ppid)
    if run is None:
        run = marked.get(environ_value(read_environ(stat.pid), MARKER_VARIABLE) or "")
    # A number is used again: whoever began before the engine is none of its.
    return run if run is not None and stat.start_ticks >= run.process.identity.start_ticks else None
