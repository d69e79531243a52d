"""Simulated GPUs, their driver, and other programs that hold their memory."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from datetime import timedelta
from typing import Any

from assertionengine import AssertionOperator
from robot.api.deco import keyword

from PoolManagerLibrary.enums import DriverMode, GpuHealth, ProcessMode
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, check, dig
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.removal import engine_processes
from PoolManagerLibrary.scenario import Gpu
from PoolManagerLibrary.settings import coerce
from PoolManagerLibrary.units import parse_size, seconds
from PoolManagerLibrary.waiting import wait_until


class DeviceKeywords(Keywords):
    """Keywords about GPUs."""

    @keyword
    def define_gpu(
        self,
        name: str | None = None,
        memory: str = "8 GiB",
        free: str | None = None,
        *,
        product: str | None = None,
        **more: Any,
    ) -> str:
        """Puts a simulated GPU into the host and makes it *the GPU*. Returns its UUID.

        ``free`` less than ``memory``: the rest is held by nobody in the process list. ``product`` is the name that
        the driver gives it, ``more`` are other fields of its document.

        Example:
        | Define GPU | big | 24 GiB | free=20 GiB |
        """
        total = parse_size(memory)
        used = 0 if free is None else total - parse_size(free)
        fields = {key: coerce(key, value) for key, value in more.items()}
        if product is not None:
            fields["name"] = product
        return self.world.add_gpu(name, memory=total, used=used, **fields).uuid

    @keyword
    def define_divided_gpu(self, name: str, *sizes: str) -> list[str]:
        """Puts a GPU into the host that is divided into MIG instances of these sizes. Returns their UUIDs.

        The instances are the GPUs ``NAME-1``, ``NAME-2``, … of the scenario.

        Example:
        | Define Divided GPU | card | 10 GiB | 20 GiB |
        | Define Pool | chat | gpu=card-2 |
        """
        instances = [
            {
                "uuid": f"MIG-{uuid.uuid4()}",
                "memory_total": parse_size(size),
                "gpu_instance_id": number,
                "compute_instance_id": 0,
            }
            for number, size in enumerate(sizes, start=1)
        ]
        whole = self.world.add_gpu(name, memory=sum(map(parse_size, sizes)), mig=instances)
        whole.claimed = True
        for number, (instance, size) in enumerate(zip(instances, sizes, strict=True), start=1):
            alias = f"{name}-{number}"
            self.scenario.gpus[alias] = Gpu(alias, str(instance["uuid"]), parse_size(size))
        return [str(instance["uuid"]) for instance in instances]

    @keyword
    def get_gpu_uuid(self, gpu: str = "the GPU") -> str:
        """Returns the UUID of a GPU of the scenario.

        Example:
        | ${uuid} = | Get GPU UUID | big |
        """
        return self.scenario.gpu(gpu).uuid

    @keyword
    def write_mask(self, form: str, *gpus: str) -> str | list[str]:
        """Returns the mask of GPUs of the scenario as an operator would write it for ``devices``.

        ``form`` is ``indices``, ``names`` or ``UUIDs`` ``in a text``, ``a list of`` one of them, or for a mixture
        one word for each GPU: ``a name and a UUID``.

        Example:
        | ${mask} = | Write Mask | a list of names | big | small |
        | Define Pool | chat | devices=${mask} |
        """
        words = re.findall("ind(?:ices|ex)|name|UUID", form)
        if not words:
            raise UsageError(f"A mask can be written as indices, names or UUIDs, not as '{form}'.")
        elements = []
        for place, gpu in enumerate(gpus):
            word = words[min(place, len(words) - 1)]
            index = str(self.get_device_field(gpu, "index"))
            elements.append({"name": f"GPU{index}", "UUID": self.get_gpu_uuid(gpu)}.get(word, index))
        return elements if "list" in form else '"' + ",".join(elements) + '"'

    @keyword
    def use_gpu(self, gpu: str) -> None:
        """Makes a GPU of the scenario *the GPU* of the following steps.

        Example:
        | Use GPU | big |
        """
        self.scenario.current_gpu = self.scenario.gpu(gpu)

    @keyword
    def set_gpu_health(self, health: GpuHealth, gpu: str = "the GPU", recovery_action: int | None = None) -> None:
        """Lets a GPU be ``lost``, ``reset_required``, ``unreadable`` or ``ok`` again, now.

        Example:
        | Set GPU Health | lost | big |
        """
        self.scenario.act(f"{gpu} is {health.value}")
        self.world.folder.set_health(self.scenario.gpu(gpu).uuid, health.value, recovery_action=recovery_action)

    @keyword
    def remove_gpu(self, gpu: str = "the GPU") -> None:
        """Takes a GPU out of the host.

        Example:
        | Remove GPU | big |
        """
        self.scenario.act(f"{gpu} is taken out")
        self.world.folder.remove_gpu(self.scenario.gpu(gpu).uuid)

    @keyword
    def put_gpu_back(self, gpu: str = "the GPU") -> None:
        """Puts a GPU that `Remove GPU` took out into the host again.

        Example:
        | Put GPU Back | big |
        """
        card = self.scenario.gpu(gpu)
        self.scenario.act(f"{gpu} is put back")
        self.world.folder.add_gpu(uuid=card.uuid, memory_total=card.memory, memory_used=card.used, **card.more)

    @keyword
    def change_gpu(self, gpu: str = "the GPU", **fields: Any) -> None:
        """Changes any field of a GPU's document; sizes may be written like ``6 GiB``.

        Example:
        | Change GPU | big | memory_used=6 GiB |
        """
        self.scenario.act(f"a change of {gpu}")
        changes = {
            key: parse_size(value) if key.startswith("memory_") else coerce(key, value) for key, value in fields.items()
        }
        self.world.folder.change_gpu(self.scenario.gpu(gpu).uuid, **changes)

    @keyword
    def set_driver_mode(self, mode: DriverMode | None = None, processes: ProcessMode | None = None) -> None:
        """Lets the simulated driver fail or hide what processes hold. Needs a daemon of the scenario's own.

        Example:
        | Set Driver Mode | unknown_error |
        | Set Driver Mode | processes=foreign_pids |
        """
        if self.world.selected not in self.scenario.own_daemons:
            raise UsageError("The driver is one for all: begin with a step such as 'Given a daemon of its own'.")
        self.scenario.act("a change of the driver")
        self.scenario.memory["driver_changed"] = True
        self.world.folder.set_driver(
            mode=None if mode is None else mode.value, process_mode=None if processes is None else processes.value
        )

    @keyword
    def emit_xid(self, xid: int, gpu: str = "the GPU") -> None:
        """Lets the driver report an XID error for a GPU.

        Example:
        | Emit XID | 79 | big |
        """
        _ = self.daemon
        card = self.scenario.gpu(gpu).uuid
        self.scenario.act(f"XID {xid} of {gpu}")
        self.world.folder.emit_xid(card, xid)

    @keyword
    def hold_gpu_memory(self, size: str, gpu: str = "the GPU") -> int:
        """Starts another program that holds memory of a GPU until `Release GPU Memory` or the end. Returns its pid.

        Example:
        | Hold GPU Memory | 3 GiB | big |
        """
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()", str(self.world.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.world.folder.allocate(process.pid, {self.scenario.gpu(gpu).uuid: parse_size(size)})
        self.scenario.memory.setdefault("holders", []).append(process)
        self.scenario.cleanups.append((f"the program that holds {size}", lambda: _end(process)))
        return process.pid

    @keyword
    def release_gpu_memory(self) -> None:
        """Ends all programs started by `Hold GPU Memory`.

        Example:
        | Release GPU Memory |
        """
        self.scenario.act("the end of the other program")
        for process in self.scenario.memory.pop("holders", []):
            _end(process)

    @keyword
    def let_child_hold_gpu_memory(self, size: str, gpu: str, name: str = "the pool") -> int:
        """Lets a descendant of a pool's engine, which must have one, hold memory of a GPU. Returns its pid.

        Example:
        | Define Pool | chat | starts a child in its own session |
        | Let Child Hold GPU Memory | 1 GiB | other | chat |
        """
        self.world.need_local("local processes")
        pool = self.scenario.pool(name)
        child: int = wait_until(
            lambda: self._lasting_children(pool.pool_id),
            bool,
            timeout=3,
            expected=f"the engine of pool {pool.pool_id} to have a child",
            context=lambda: self.explain(pool),
        ).value[0]
        self.scenario.act(f"a child of the engine takes {size} of {gpu}")
        self.world.folder.allocate(child, {self.scenario.gpu(gpu).uuid: parse_size(size)})
        return child

    def _lasting_children(self, pool_id: str) -> list[int]:
        """What the engine says that it started, without the process that only makes an orphan and ends."""
        state = self.daemon.state_dir
        try:
            main = (state / f"{pool_id}-r0.pid").read_text(encoding="ascii").strip()
            log = (state / f"engine-{pool_id}-r0.log").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []  # it is only just being started
        started = re.findall(r"started a child, pid (\d+) \((\w+)\)", log)
        passing = {main, *(pid for pid, kind in started if kind in {"orphan", "stray"})}
        return [pid for pid in engine_processes(pool_id) if str(pid) not in passing] if started else []

    @keyword
    def get_devices(self) -> list[dict[str, Any]]:
        """Returns the devices that ``/v2/devices`` lists, those of this scenario only (all, if it has its own daemon).

        Example:
        | ${devices} = | Get Devices |
        """
        devices: list[dict[str, Any]] = self.must(self.operate("devices")).body["devices"]
        if self.world.selected in self.scenario.own_daemons:
            return devices
        mine = {gpu.uuid for gpu in self.scenario.gpus.values()}
        return [device for device in devices if device["uuid"] in mine]

    @keyword
    def get_device_field(
        self,
        gpu: str,
        field: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        within: timedelta = timedelta(0),
    ) -> Any:
        """Returns a field of a GPU as ``/v2/devices`` shows it. With ``within`` it is asked until the assertion holds.

        Example:
        | Get Device Field | big | health | == | lost | within=500 ms |
        | Get Device Field | big | memory_free_bytes | > | 6 GiB |
        """
        card = self.scenario.gpu(gpu).uuid
        expected = assertion_expected
        if isinstance(expected, str) and field.endswith("_bytes"):
            expected = parse_size(expected)

        def look() -> tuple[Any, Exception | None]:
            outcome = call(self.daemon, "devices")
            device = next((one for one in self.must(outcome).body["devices"] if one["uuid"] == card), None)
            if device is None:
                return None, ExpectationFailed(f"/v2/devices does not list {gpu} ({card}).")
            value = dig(device, field)
            try:
                return check(value, assertion_operator, expected, f"{field} of {gpu}"), None
            except ExpectationFailed as error:
                return value, error

        value, _ = wait_until(
            look,
            lambda seen: seen[1] is None,
            timeout=seconds(within),
            expected=f"{field} of {gpu} {assertion_operator.name if assertion_operator else ''} {expected}",
            show=lambda seen: str(seen[1]),
        ).value
        return value


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
