"""Who holds memory on a GPU, as ``/v2/devices`` shows it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.units import parse_size, seconds, show_size
from PoolManagerLibrary.waiting import wait_until


class DeviceHolderKeywords(Keywords):
    """Keywords about the holders of GPU memory."""

    @keyword
    def gpu_holders_should_be(self, gpu: str, *holders: str, within: timedelta = timedelta(seconds=1)) -> None:
        """Checks exactly who holds how much of a GPU, each as ``HOLDER with SIZE``; none given: nobody does.

        A holder is ``the engine`` (also ``engine r1 of pool chat``), ``a child`` (of a pool's engine; also ``a child
        of pool chat``), or ``another program``, which is no engine of the daemon.

        Example:
        | GPU Holders Should Be | big | the engine with 2 GiB | another program with 1 GiB |
        | GPU Holders Should Be | small |
        """
        uuid = self.scenario.gpu(gpu).uuid
        wanted = sorted(self._wanted(holder) for holder in holders)

        def look() -> list[tuple[str, int]]:
            devices = self.must(call(self.daemon, "devices")).body["devices"]
            device: dict[str, Any] = next((one for one in devices if one["uuid"] == uuid), {"holders": []})
            return sorted(self._seen(holder) for holder in device["holders"])

        wait_until(
            look,
            lambda seen: seen == wanted,
            timeout=seconds(within),
            expected=f"{gpu} to be held by {_text(wanted)}",
            show=_text,
        )

    def _wanted(self, holder: str) -> tuple[str, int]:
        who, separator, size = holder.rpartition(" with ")
        if not separator:
            raise UsageError(f"A holder is written like 'the engine with 2 GiB', not like '{holder}'.")
        if who == "another program":
            return who, parse_size(size)
        if who.startswith("a child"):
            pool = self.scenario.pool(who.removeprefix("a child").removeprefix(" of ") or "the pool")
            return f"a child of pool {pool.pool_id}", parse_size(size)
        pool, replica = self.scenario.replica(who)
        return f"engine {replica} of pool {pool.pool_id}", parse_size(size)

    def _seen(self, holder: dict[str, Any]) -> tuple[str, int]:
        pool_id, size = holder["pool_id"], int(holder["used_bytes"] or 0)
        if pool_id is None:
            return "another program", size
        replicas = self.status(pool_id)["replicas"]
        main = next((one["replica_id"] for one in replicas if one["pid"] == holder["pid"]), None)
        return (f"a child of pool {pool_id}" if main is None else f"engine {main} of pool {pool_id}"), size


def _text(holders: list[tuple[str, int]]) -> str:
    return ", ".join(f"{who} with {show_size(size)}" for who, size in holders) or "nobody"
