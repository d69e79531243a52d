"""A control group (version 2) for each replica's engine, where the daemon may make some: nothing can leave it.

A descendant that changed its session, its parent and its environment is still in its engine's group: ``cgroup.kill``
ends all of them in one step, however fast they fork, and ``populated 0`` proves that none is left. Where the kernel
counts memory by group, ``memory.events`` says whether its OOM killer ended one of them.

The groups lie in the daemon's own, which systemd hands over with ``Delegate=yes``. Where that cannot be written (a
daemon in a login session, a container), or the kernel has no ``cgroup.kill`` (before 5.14), there are none, and
descendants are found by group, session, parentage and environment marker alone.

**How an engine gets into its group.** Python cannot spawn into a group (``CLONE_INTO_CGROUP``), and code between fork
and exec is out of the question. So the thread that has started the engine writes its pid into ``cgroup.procs`` right
after. The kernel waits for a grace period of its own then (0.1 to 15 ms for each write), and nobody else waits for it.
What the engine may have forked by then is still in the daemon's own group, in the engine's session or under its pid,
and is moved after it, until a look finds no more; from the first write on, every new child is born in the group. One
that left session and parent within that moment is found by its marker, as before.
"""

from __future__ import annotations

import contextlib
import functools
import re
import time
from dataclasses import dataclass
from pathlib import Path

from pool_managerd.runtime.identity import ProcStat, read_stat

#: The group into which the unit file puts the daemon itself (``DelegateSubgroup=``): then the one above it is ours.
#: A group with processes of its own may not hand controllers on to others, hence the place beside them.
DAEMON_GROUP = "pool-managerd.daemon"
#: Seconds after which an empty group is nobody's: its daemon was killed, and then its engine.
STALE_S = 60.0
_PREFIX = "pool-managerd."
_MARKER = re.compile(r"[\w-]+:[a-z0-9-]+:[a-z0-9-]+")
#: An engine that forks without end is not followed for ever; cgroup.kill and the marker end what is missed.
_LOOKS = 100


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """One replica's group. It may be gone at any time: then it has no processes."""

    path: Path

    def stats(self) -> dict[int, ProcStat]:
        """What runs in it and in groups that an engine made below it, by pid."""
        found: dict[int, ProcStat] = {}
        for folder in self._folders():
            for pid in _pids(folder):
                stat = read_stat(pid)
                if stat is not None and not stat.ended:
                    found[pid] = stat
        return found

    def is_populated(self) -> bool:
        """Whether the kernel says that something lives in it."""
        try:
            return "populated 1" in (self.path / "cgroup.events").read_text(encoding="ascii")
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL to everything in it, at once."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1", encoding="ascii")

    def remove(self) -> None:
        """Take it away, unless something lives in it."""
        for folder in reversed(self._folders()):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def oom_kills(self) -> int | None:
        """How many of its processes any OOM killer has ended; ``None`` where the kernel does not count by group."""
        try:
            lines = (self.path / "memory.events").read_text(encoding="ascii").splitlines()
            return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
        except (OSError, ValueError, IndexError):
            return None

    def _folders(self) -> list[Path]:
        """It and those below it, the outer ones first."""
        found = [self.path]
        for folder in found:
            with contextlib.suppress(OSError):
                found += [entry for entry in folder.iterdir() if entry.is_dir()]
        return found


class ControlGroups:
    """The groups of this host's daemons.

    :param own: the group that the daemon is in; ``None`` if groups cannot be made.
    """

    def __init__(self, own: Path | None) -> None:
        self._own = own
        self.base = None if own is None else own.parent if own.name == DAEMON_GROUP else own
        if self.base is not None and self.base != own:
            # Allowed, since the daemon is not in it; without it there is no memory.events, and nothing else is missing.
            with contextlib.suppress(OSError):
                (self.base / "cgroup.subtree_control").write_text("+memory", encoding="ascii")

    @classmethod
    def find(cls, proc: Path = Path("/proc")) -> ControlGroups:
        """Those below this process's own group."""
        try:
            own = _own_group(proc)
        except (OSError, ValueError, IndexError):
            return cls(None)
        return cls(own if own is not None and (own / "cgroup.procs").is_file() else None)

    def of(self, marker: str | None, pid: int | None = None) -> ControlGroup | None:
        """The group of the replica with this marker, if there is one.

        :param pid: a process of it, which tells where the group lies if an earlier daemon was in another one.
        """
        name = _name(marker)
        if self.base is None or name is None:
            return None
        group = self.base / name
        if not group.is_dir():
            placed = None if pid is None else self._group_of(pid)
            if placed is None or placed.name != name:
                return None
            group = placed
        return ControlGroup(group)

    def make(self, marker: str | None) -> ControlGroup | None:
        """A group for a replica, or ``None`` where that cannot be."""
        name = _name(marker)
        if self.base is None or name is None:
            return None
        group = ControlGroup(self.base / name)
        try:
            group.path.mkdir(exist_ok=True)
        except OSError:
            return None
        if not (group.path / "cgroup.kill").exists():
            group.remove()
            self.base = None  # nor will the next one have it
            return None
        return group

    def place(self, group: ControlGroup, pid: int) -> bool:
        """Put a process that was started just now into its group, and what it has started by now; see above."""
        procs = group.path / "cgroup.procs"
        try:
            procs.write_text(str(pid), encoding="ascii")
        except OSError:
            group.remove()
            return False
        family = {pid}
        for _ in range(_LOOKS):
            found = [stat for stat in self._newer_than(pid) if stat.session == pid or stat.ppid in family]
            if not found:
                break
            for stat in found:
                family.add(stat.pid)
                with contextlib.suppress(OSError):  # it has ended
                    procs.write_text(str(stat.pid), encoding="ascii")
        return True

    def members(self, prefix: str) -> dict[str, set[int]]:
        """What runs in groups of replicas whose marker begins with ``prefix``, by marker."""
        found: dict[str, set[int]] = {}
        for path in self._all():
            marker = path.name.removeprefix(_PREFIX).replace(".", ":")
            if marker.startswith(prefix) and (pids := set(ControlGroup(path).stats())):
                found[marker] = pids
        return found

    def remove_stale(self) -> None:
        """Take away groups that are empty and not of these moments, whosever they were."""
        for path in self._all():
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_ctime > STALE_S and not ControlGroup(path).is_populated():
                    ControlGroup(path).remove()

    def _all(self) -> list[Path]:
        if self.base is None:
            return []
        with contextlib.suppress(OSError):
            return [path for path in self.base.glob(f"{_PREFIX}*") if path.name != DAEMON_GROUP and path.is_dir()]
        return []

    def _newer_than(self, pid: int) -> list[ProcStat]:
        """Processes in the daemon's own group whose number is higher, as a child's is."""
        pids = [] if self._own is None else _pids(self._own)
        stats = [read_stat(one) for one in pids if one > pid]
        return [stat for stat in stats if stat is not None and not stat.ended]

    @staticmethod
    def _group_of(pid: int) -> Path | None:
        try:
            return _group_path(Path("/proc"), str(pid))
        except (OSError, ValueError, IndexError):
            return None


@functools.cache
def groups() -> ControlGroups:
    """Those of this process."""
    return ControlGroups.find()


def _name(marker: str | None) -> str | None:
    """``state:pool:replica`` as a folder's name; none of the three has a dot."""
    return _PREFIX + marker.replace(":", ".") if marker is not None and _MARKER.fullmatch(marker) else None


def _pids(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        return []


def _own_group(proc: Path) -> Path | None:
    return _group_path(proc, "self")


def _group_path(proc: Path, pid: str) -> Path | None:
    """Where the group of a process is mounted; ``None`` if it is not in what this one sees."""
    listed = (proc / pid / "cgroup").read_text(encoding="utf-8").splitlines()
    path = next((line[3:] for line in listed if line.startswith("0::")), None)
    if path is None or path.startswith("/.."):
        return None
    for line in (proc / "self" / "mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.split()[0] == "cgroup2":
            root, mounted = fields.split()[3:5]
            if path == root or path.startswith(root.rstrip("/") + "/"):
                return Path(mounted, path[len(root.rstrip("/")) :].lstrip("/"))
    return None
