from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pool_managerd.devices import simulated_folder
from pool_managerd.devices.simulated_folder import GIB, SimulatedFolder, start_ticks
from pool_managerd.devices.simulated_reader import FolderReader


def test_it_loads_by_path_with_the_standard_library_alone():
    program = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('f', {simulated_folder.__file__!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "heavy = {'typing', 'dataclasses', 'pathlib', 'inspect', 'asyncio', 'pool_managerd'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "module.SimulatedFolder('/nonexistent')\n"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, timeout=30)


def test_a_new_folder_has_the_gpus_asked_for_and_is_left_alone_later(tmp_path: Path):
    folder = SimulatedFolder(tmp_path / "d").create(gpus=3, memory_total=8 * GIB)
    assert [gpu["index"] for gpu in folder.gpus()] == [0, 1, 2]
    assert {gpu["memory_total"] for gpu in folder.gpus()} == {8 * GIB}
    uuid = folder.gpus()[0]["uuid"]
    folder.set_health(uuid, "lost")
    folder.create(gpus=5)
    assert len(folder.gpus()) == 3
    assert folder.gpu(uuid)["health"] == "lost"


def test_gpus_get_free_indices_and_uuids(folder: SimulatedFolder, uuids):
    folder.remove_gpu(uuids[0])
    again = folder.add_gpu(name="Other")
    assert folder.gpu(again)["index"] == 0
    assert len({gpu["uuid"] for gpu in folder.gpus()}) == 2


def test_memory_counts_while_its_process_lives(folder, uuids, processes):
    process = processes.start()
    folder.allocate(process.pid, {uuids[0]: 2 * GIB, uuids[1]: GIB})
    assert [(h.pid, h.used, h.alive) for h in folder.holders()[uuids[0]]] == [(process.pid, 2 * GIB, True)]
    assert folder.free_bytes(uuids[1]) == 23 * GIB
    process.kill()  # not reaped yet: a zombie holds no memory
    _until(lambda: start_ticks(process.pid) is None)
    assert folder.holders() == {}


def test_an_allocation_is_replaced_as_a_whole_and_freed_on_demand(folder, uuids):
    folder.allocate(os.getpid(), {uuids[0]: 5})
    folder.allocate(os.getpid(), {uuids[1]: 6}, sticky_ms=10_000)
    assert {uuid: held[0].used for uuid, held in folder.holders().items()} == {uuids[1]: 6}
    folder.free(os.getpid())
    assert folder.holders() == {}


def test_sticky_memory_outlives_its_process_for_its_time(folder, uuids, processes):
    process = processes.start()
    folder.allocate(process.pid, {uuids[0]: 5}, sticky_ms=300)
    process.kill()
    process.wait()
    since = time.monotonic()
    (holder,) = folder.holders()[uuids[0]]
    assert (holder.pid, holder.alive) == (process.pid, False)
    _until(lambda: folder.holders() == {})
    assert 0.25 < time.monotonic() - since < 2


def test_a_death_that_cannot_be_noted_keeps_nobody_from_looking(folder, uuids, processes):
    process = processes.start()
    folder.allocate(process.pid, {uuids[0]: GIB}, sticky_ms=400)
    in_the_way = Path(folder.allocations_path) / f"{process.pid}-{start_ticks(process.pid)}.died"
    in_the_way.mkdir()
    process.kill()
    process.wait()
    reader = FolderReader(folder)
    assert reader.load().processes == {uuids[0]: ((process.pid, GIB),)}
    assert not list(Path(folder.allocations_path).glob(".*"))
    in_the_way.rmdir()
    _until(lambda: reader.load().processes == {})


def test_the_reader_removes_what_ended_processes_left(folder, uuids, processes):
    process = processes.start()
    folder.allocate(process.pid, {uuids[0]: 5}, sticky_ms=1)
    folder.death_of(process.pid, start_ticks(process.pid))
    process.kill()
    process.wait()
    reader = FolderReader(folder)
    _until(lambda: not reader.load().processes)
    assert list(Path(folder.allocations_path).iterdir()) == []


def test_a_reused_pid_is_another_process(folder, uuids):
    path = Path(folder.allocations_path, f"{os.getpid()}-1.json")
    path.write_text(f'{{"pid": {os.getpid()}, "start_ticks": 1, "bytes": {{"{uuids[0]}": 5}}}}')
    assert folder.holders() == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "start_ticks": 1, "bytes": 3}', "null"])
def test_a_file_that_is_no_allocation_counts_as_absent(folder, text):
    Path(folder.allocations_path, "1-1.json").write_text(text)
    assert folder.holders() == {}
    assert FolderReader(folder).load().processes == {}


def test_the_reader_sees_each_of_many_quick_changes(folder, uuids):
    reader = FolderReader(folder)
    for count in range(1, 60):
        folder.allocate(os.getpid(), {uuids[0]: count})
        assert reader.load().processes == {uuids[0]: ((os.getpid(), count),)}


def test_xids_are_read_line_by_line_from_an_offset(folder, uuids):
    folder.emit_xid(uuids[0], 13)
    found, offset = folder.xids_since(0)
    assert found == [(uuids[0], 13)]
    with Path(folder.xids_path).open("a") as file:
        file.write('nonsense\n{"uuid": "GPU-x", "xid": 79}\n{"uuid": "half')
    found, offset = folder.xids_since(offset)
    assert found == [("GPU-x", 79)]
    Path(folder.xids_path).write_text("")
    folder.emit_xid(uuids[1], 31)
    assert folder.xids_since(offset)[0] == [(uuids[1], 31)]


@pytest.mark.parametrize(
    "call",
    [
        lambda f: f.set_driver(mode="slow"),
        lambda f: f.set_driver(process_mode="none"),
        lambda f: f.set_health("x", "fine"),
        lambda f: f.add_gpu(uuid="../x"),
    ],
)
def test_unknown_values_are_refused(folder, call):
    with pytest.raises(ValueError):
        call(folder)


def test_nobody_there_to_allocate_for(folder, uuids, processes):
    process = processes.start()
    process.kill()
    process.wait()
    with pytest.raises(ProcessLookupError):
        folder.allocate(process.pid, {uuids[0]: 1})


def _until(condition, timeout=5):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
