"""Host memory: how much is free, under the host's and the cgroups' limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.reservations import Key, Reservations
from pool_managerd.devices.sizes import human

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 62  # cgroup v1 says "no limit" with a number near 2^63


@dataclass(frozen=True, slots=True)
class HostRam:
    """Free host memory in bytes; ``limit`` is the cgroup that bounds it, ``None`` for the host itself."""

    available: int
    limit: str | None = None
    limit_bytes: int | None = None


def host_ram_available(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> HostRam:
    """What new processes of this one's cgroup may still use.

    The host's figure is MemAvailable; a cgroup's is its limit less what it uses, where inactive file cache counts
    as free. A few small files are read.
    """
    best = HostRam(_meminfo(proc / "meminfo", "MemAvailable"))
    for folder, names in _groups(proc / "self" / "cgroup", cgroups):
        limit = _number(folder / names[0])
        if limit is None or limit >= _UNLIMITED:
            continue
        used = _number(folder / names[1]) or 0
        cache = _stat(folder / "memory.stat", names[2])
        available = max(0, limit - max(0, used - cache))
        if available < best.available:
            best = HostRam(available, str(folder), limit)
    return best


def host_ram_total(proc: Path = _PROC) -> int:
    """All memory of the host in bytes."""
    return _meminfo(proc / "meminfo", "MemTotal")


def fit_ram(required: int, ram: HostRam, reservations: Reservations, *, own_key: Key | None = None) -> None:
    """Whether ``required`` bytes of host memory are free beside what loading replicas were promised.

    :raises PoolManagerError: INSUFFICIENT_RAM with required and free bytes, and the cgroup that sets the limit.
    """
    promised = sum(other.ram for other in reservations.others(own_key) if not other.resident)
    free = max(0, ram.available - promised)
    if required <= free:
        return
    where = (
        "host memory"
        if ram.limit is None
        else f"memory under the limit of {human(ram.limit_bytes or 0)} of {ram.limit}"
    )
    raise PoolManagerError(
        Code.INSUFFICIENT_RAM,
        f"{where}: {required} bytes ({human(required)}) required, {free} bytes ({human(free)}) free",
        hint="the pool becomes Ready by itself once memory is free; or raise the limit, or set ram_bytes",
        details={
            "required_bytes": required,
            "free_bytes": free,
            "missing_bytes": required - free,
            "cgroup": ram.limit,
            "limit_bytes": ram.limit_bytes,
        },
    )


def _groups(listing: Path, cgroups: Path) -> list[tuple[Path, tuple[str, str, str]]]:
    """The memory cgroups that this process is in, innermost first, with the names of limit, use and cache."""
    v2 = ("memory.max", "memory.current", "inactive_file")
    v1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    found: list[tuple[Path, tuple[str, str, str]]] = []
    try:
        lines = listing.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, names = cgroups, v2
        elif "memory" in controllers.split(","):
            root, names = cgroups / "memory", v1
        else:
            continue
        folder = root / path.lstrip("/")
        while folder != root:
            found.append((folder, names))
            folder = folder.parent
        found.append((root, names))  # in a container the root is the container's own group
    return found


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # absent, or "max"
        return None


def _stat(path: Path, key: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(key + " ")), 0)


def _meminfo(path: Path, key: str) -> int:
    """One line of /proc/meminfo, in bytes.

    :raises OSError: if there is no such file or line.
    """
    for line in path.read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{path} has no {key}")
