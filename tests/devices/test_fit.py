from __future__ import annotations

from pathlib import Path

import pytest

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.memory import (
    DeviceShare,
    HostRam,
    Need,
    Reservations,
    check_usable,
    fit,
    fit_ram,
    host_ram_available,
)
from pool_managerd.devices.snapshot import Device, DevicesSnapshot, GpuProcess

MIB, GIB = 1 << 20, 1 << 30
G0, G1 = "GPU-0", "GPU-1"
A, B = ("a", "r0"), ("b", "r0")


def need(**bytes_by):
    shares = tuple(DeviceShare(uuid.replace("_", "-"), 1.0, n, 0, 0, n) for uuid, n in bytes_by.items())
    return Need(shares, 0, "configured")


def gpu(uuid, total=8 * GIB, other=0, health="ok", **held):
    used = sum(held.values()) + other
    processes = tuple(GpuProcess(int(pid[1:]), n) for pid, n in held.items())
    return Device(
        uuid=uuid, index=int(uuid[-1]), name="", pci_bus_id="", total=total, free=total - used, used=used,
        processes=processes, health=health,
    )  # fmt: skip


def snap(*devices, **more):
    return DevicesSnapshot(devices=devices, **more)


def refusal(*args, **kwargs):
    with pytest.raises(PoolManagerError) as caught:
        fit(*args, **kwargs)
    return caught.value


def test_what_fits_and_what_does_not():
    fit(need(GPU_0=8 * GIB), snap(gpu(G0)), Reservations(), 0)
    error = refusal(need(GPU_0=7 * GIB), snap(gpu(G0, other=2 * GIB)), Reservations(), 0)
    assert error.code == Code.INSUFFICIENT_VRAM
    assert error.details["device"] == G0
    assert (error.details["required_bytes"], error.details["free_bytes"]) == (7 * GIB, 6 * GIB)
    assert error.details["missing_bytes"] == GIB
    assert f"{7 * GIB} bytes" in error.message
    assert f"{6 * GIB} bytes" in error.message
    assert G0 in error.message


def test_the_overhead_stays_free():
    fit(need(GPU_0=7 * GIB), snap(gpu(G0)), Reservations(), GIB)
    error = refusal(need(GPU_0=7 * GIB), snap(gpu(G0)), Reservations(), GIB + 1)
    assert error.details["missing_bytes"] == 1


def test_every_device_that_is_short_is_in_the_details():
    error = refusal(need(GPU_0=9 * GIB, GPU_1=10 * GIB), snap(gpu(G0), gpu(G1)), Reservations(), 0)
    assert error.details["device"] == G1
    assert [d["missing_bytes"] for d in error.details["devices"]] == [GIB, 2 * GIB]


def test_a_promise_counts_before_its_engine_uses_it_and_once_when_it_does():
    ledger = Reservations()
    ledger.reserve(A, {G0: 5 * GIB})
    error = refusal(need(GPU_0=4 * GIB), snap(gpu(G0)), ledger, 0, own_key=B)
    assert error.details["holder"] == {"pool_id": "a", "replica_id": "r0", "pid": None, "bytes": 5 * GIB}
    assert "pool 'a' (r0)" in error.message
    ledger.update(A, pids={7})
    for held in (1, 2 * GIB, 5 * GIB):
        fit(need(GPU_0=3 * GIB), snap(gpu(G0, p7=held)), ledger, 0, own_key=B)
        refusal(need(GPU_0=3 * GIB + 1), snap(gpu(G0, p7=held)), ledger, 0, own_key=B)
    fit(need(GPU_0=2 * GIB), snap(gpu(G0, p7=6 * GIB)), ledger, 0, own_key=B)  # more than promised is used all the same
    refusal(need(GPU_0=2 * GIB + 1), snap(gpu(G0, p7=6 * GIB)), ledger, 0, own_key=B)
    fit(need(GPU_0=8 * GIB), snap(gpu(G0)), ledger, 0, own_key=A)
    assert ledger.release(A)
    assert not ledger.release(A)
    fit(need(GPU_0=8 * GIB), snap(gpu(G0)), ledger, 0, own_key=B)


def test_the_largest_foreign_process_is_named():
    error = refusal(need(GPU_0=6 * GIB), snap(gpu(G0, p5=GIB, p6=2 * GIB)), Reservations(), 0)
    assert error.details["holder"] == {"pool_id": None, "replica_id": None, "pid": 6, "bytes": 2 * GIB}
    assert "process 6" in error.message
    ledger = Reservations()
    ledger.reserve(A, {G0: 4 * GIB})
    error = refusal(need(GPU_0=6 * GIB), snap(gpu(G0, p5=GIB, p6=2 * GIB)), ledger, 0)
    assert "pool 'a' (r0)" in error.message
    assert "process 6" in error.message


def test_a_replica_to_be_replaced_counts_as_free():
    ledger = Reservations()
    ledger.reserve(A, {G0: 6 * GIB}, pids={7}, resident=True)
    used = snap(gpu(G0, p7=6 * GIB))
    refusal(need(GPU_0=6 * GIB), used, ledger, 0, own_key=A)
    fit(need(GPU_0=8 * GIB), used, ledger, 0, own_key=A, releasing={7})
    by_device = snap(gpu(G0, other=6 * GIB), residency="device")
    refusal(need(GPU_0=6 * GIB), by_device, ledger, 0, own_key=A)
    fit(need(GPU_0=8 * GIB), by_device, ledger, 0, own_key=A, releasing={7})


def test_where_pids_mean_nothing_a_promise_counts_until_its_engine_has_loaded():
    ledger = Reservations()
    ledger.reserve(A, {G0: 5 * GIB}, pids={7})
    by_device = snap(gpu(G0, other=0), residency="device")
    refusal(need(GPU_0=4 * GIB), by_device, ledger, 0, own_key=B)
    ledger.update(A, resident=True)
    loaded = snap(gpu(G0, other=5 * GIB), residency="device")
    fit(need(GPU_0=3 * GIB), loaded, ledger, 0, own_key=B)
    refusal(need(GPU_0=3 * GIB + 1), loaded, ledger, 0, own_key=B)


def test_the_ledger_tells_who_holds_what():
    ledger = Reservations()
    ledger.reserve(A, {G0: 5, G1: 6}, pids={7})
    ledger.reserve(B, {G1: 1})
    assert (ledger.reserved(G0), ledger.reserved(G1), ledger.reserved("none")) == (5, 7, 0)
    assert ledger.holders(G1) == {A: 6, B: 1}
    assert (ledger.owner_of(7), ledger.owner_of(8)) == (A, None)
    ledger.update(("none", "r0"), pids={1})
    assert ledger.get(("none", "r0")) is None


@pytest.mark.parametrize("health", ["lost", "reset_required", "unreadable"])
def test_a_gpu_that_cannot_be_used_is_named(health):
    with pytest.raises(PoolManagerError) as caught:
        fit(need(GPU_0=1), snap(gpu(G0, health=health)), Reservations(), 0)
    assert caught.value.code == Code.GPU_UNAVAILABLE
    assert caught.value.details["device"] == G0


def test_absent_quarantined_and_stale():
    for args, more in (
        (([G1], snap(gpu(G0))), {}),
        (([G0], snap(gpu(G0))), {"quarantined": {G0}}),
        (([G0], snap(gpu(G0), stale=True)), {}),
    ):
        with pytest.raises(PoolManagerError) as caught:
            check_usable(*args, **more)
        assert caught.value.code == Code.GPU_UNAVAILABLE


def test_host_memory():
    ledger = Reservations()
    fit_ram(GIB, HostRam(GIB), ledger)
    ledger.reserve(A, {}, ram=1)
    with pytest.raises(PoolManagerError) as caught:
        fit_ram(GIB, HostRam(GIB), ledger, own_key=B)
    assert caught.value.code == Code.INSUFFICIENT_RAM
    assert (caught.value.details["required_bytes"], caught.value.details["free_bytes"]) == (GIB, GIB - 1)
    fit_ram(GIB, HostRam(GIB), ledger, own_key=A)
    ledger.update(A, resident=True)
    fit_ram(GIB, HostRam(GIB), ledger, own_key=B)


def test_this_hosts_memory_is_a_number():
    assert 0 < host_ram_available().available < 1 << 50


@pytest.mark.parametrize("version", [1, 2])
def test_a_cgroups_limit_bounds_what_is_free(tmp_path: Path, version):
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable:    8388608 kB\n")
    line, root, names = {
        1: ("4:memory:/a/b\n0::/\n", cgroups / "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", str((1 << 63) - 4096))),
        2: ("0::/a/b\n", cgroups, ("memory.max", "memory.current", "inactive_file", "max")),
    }[version]  # fmt: skip
    (proc / "self" / "cgroup").write_text(line)
    inner, outer = root / "a" / "b", root / "a"
    inner.mkdir(parents=True)
    (inner / names[0]).write_text(names[3] + "\n")
    assert host_ram_available(proc, cgroups) == HostRam(8 * GIB)
    (outer / names[0]).write_text(f"{3 * GIB}\n")
    (outer / names[1]).write_text(f"{2 * GIB}\n")
    (outer / "memory.stat").write_text(f"anon 5\n{names[2]} {GIB}\n")
    assert host_ram_available(proc, cgroups) == HostRam(2 * GIB, str(outer), 3 * GIB)
    with pytest.raises(PoolManagerError, match=str(outer)):
        fit_ram(2 * GIB + 1, host_ram_available(proc, cgroups), Reservations())
