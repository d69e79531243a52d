"""Program files that a pool can have as its engine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from robot.api.deco import keyword

from pool_managerd.engines.simulated.script import write_stand_in
from PoolManagerLibrary.behaviours import parse_behaviour
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.memory_groups import memory_group
from PoolManagerLibrary.settings import coerce
from PoolManagerLibrary.units import parse_size


class ProgramKeywords(Keywords):
    """Keywords about program files."""

    @keyword
    def create_program(self, name: str, text: str = "", mode: str = "755", behaviour: str = "", **options: Any) -> str:
        """Writes a program into the daemon's folder and returns its path. Default: one that runs the stand-in.

        The stand-in takes the flags of llama-server, vLLM, TGI and Triton too, so that it can be the ``binary`` of
        a pool of that kind. ``behaviour`` (see `Engine Behaviours`) and ``options`` say what it does from its start.

        Example:
        | ${binary} = | Create Program | llama-server | behaviour=needs 200 ms to load |
        | ${broken} = | Create Program | broken | text=not a program |
        """
        self.world.need_local("files of the daemon")
        daemon = self.world.selected
        # The shared daemon's folder is everybody's.
        folder = daemon.root / f"programs-{self.world.next_id()}" if daemon is self.world.shared else daemon.root
        path = folder / name
        if text:
            folder.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        else:
            values = (parse_behaviour(behaviour) if behaviour else {}) | {
                key: coerce(key, val) for key, val in options.items()
            }
            write_stand_in(path, values)
        path.chmod(int(mode, 8))
        self.scenario.cleanups.append((str(path), lambda: path.unlink(missing_ok=True)))
        return str(path)

    @keyword
    def create_engine_program(self, **options: Any) -> str:
        """Writes a program that takes any engine kind's flags and does what the stand-in is told. Returns its path.

        ``options`` are keys of ``[pool.simulated]``. Give the path as the pool's ``binary``.

        Example:
        | ${vllm} = | Create Engine Program | load_ms=200 |
        | Define Pool | chat | engine=vllm | binary=${vllm} | model=models/tiny-hf | vram_bytes=1 GiB |
        """
        self.world.need_local("a program of its own")
        path = self.world.selected.root / f"engine-{self.world.next_id()}"
        write_stand_in(path, {key: coerce(key, value) for key, value in options.items()})
        self.scenario.cleanups.append((str(path), lambda: path.unlink(missing_ok=True)))
        return str(path)

    @keyword
    def create_confined_program(self, limit: str, **options: Any) -> str:
        """Writes a program that runs the stand-in in a control group with so much host memory. Returns its path.

        Whoever takes more is ended by the kernel. The test is skipped, with the reason, where no group can be made.
        ``options`` are keys of ``[pool.simulated]``. Give the path as the pool's ``binary``.

        Example:
        | ${program} = | Create Confined Program | 48 MiB | ram_bytes=200 MiB |
        """
        program = self.create_engine_program(**options)
        group = memory_group(self.world.next_id(), parse_size(limit))
        self.scenario.cleanups.append((str(group), group.rmdir))
        text = f'#!/bin/sh\necho $$ >"{group}/cgroup.procs" && exec "{program}" "$@"\n'
        return self.create_program(f"confined-{self.world.next_id()}", text)

    @keyword
    def create_engine_binary(self, name: str = "my-engine") -> str:
        """Makes a program file of its own that can run the stand-in (a copy of Python). Returns its path.

        Example:
        | ${binary} = | Create Engine Binary |
        | Define Pool | chat | binary=${binary} |
        """
        self.world.need_local("files of the daemon")
        real = Path(sys.executable).resolve()
        folder = self.world.selected.root / f"bin-{self.world.next_id()}"
        folder.mkdir()
        shutil.copy2(real, folder / name)
        # As `venv --copies` does it: tells the copy where its standard library is.
        (folder / "pyvenv.cfg").write_text(f"home = {real.parent}\n", encoding="utf-8")
        self.scenario.cleanups.append((str(folder), lambda: shutil.rmtree(folder, ignore_errors=True)))
        return str(folder / name)
