"""Run by test_real_nvml.py where a stand-in of the driver library is on the library path; asserts what it sees."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pool_managerd.devices.inventory import Inventory
from pool_managerd.devices.nvml import load_nvml

UUID = "GPU-00000000-0000-0000-0000-00000000000"


def show(world, second="ok"):
    """One GPU that this process holds, and one that may be lost."""
    lines = ["driver 580.1 13000", f"gpu {UUID}0 0 Stand-in 00000000:01:00.0 1000 100 600 300 ok 0 9 0"]
    lines.append(f"gpu {UUID}1 1 Stand-in 00000000:02:00.0 1000 100 900 0 {second} 1 9 0")
    lines.append(f"process {UUID}0 {os.getpid()} 300\n")
    world.with_suffix(".new").write_text("\n".join(lines))
    world.with_suffix(".new").rename(world)


async def main():
    world = Path(os.environ["NVML_WORLD"])
    show(world)
    inventory = Inventory(load_nvml("nvml"), source="nvml", wait_ms=50)
    news = asyncio.Event()
    xids, healths = [], []
    inventory.on_xid = lambda event: (xids.append((event.uuid[-1], event.xid)), news.set())
    inventory.on_health = lambda event: (healths.append((event.uuid[-1], event.after)), news.set())

    async def until(condition):
        async with asyncio.timeout(5):
            while not condition():
                news.clear()
                await news.wait()

    snapshot = await inventory.start()
    assert inventory.driver_version == "580.1"
    first, second = snapshot.devices
    assert (first.uuid[-1], first.index, first.name, first.pci_bus_id) == ("0", 0, "Stand-in", "00000000:01:00.0")
    assert (first.total, first.free, first.used) == (1000, 600, 300)
    assert [(process.pid, process.used) for process in first.processes] == [(os.getpid(), 300)]
    assert (first.recovery_action, second.recovery_action) == (0, 1)
    show(world, "lost")  # a real GPU tells nobody: it is seen by the look after the wait for XIDs
    await until(lambda: healths)
    assert (inventory.snapshot.devices[1].health, inventory.snapshot.devices[1].total) == ("lost", 1000)
    world.with_suffix(".xid").write_text(f"{UUID}1 79\n")  # of a GPU that no longer tells its UUID
    await until(lambda: xids)
    show(world)
    await until(lambda: len(healths) == 2)
    assert (xids, healths) == ([("1", 79)], [("1", "lost"), ("1", "ok")])
    await inventory.close()
    print("all seen")  # noqa: T201 - the test looks for it


asyncio.run(main())
