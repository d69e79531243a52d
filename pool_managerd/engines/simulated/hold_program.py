"""Any real program on simulated GPUs: holds simulated memory, then becomes the program.

Installed as ``pool-managerd-simulated-hold BYTES PROGRAM [ARGUMENT…]``. It writes an allocation under its own pid into
the folder of simulated devices, BYTES divided equally among the GPUs that it can see, and executes the program in its
place: a process keeps its pid and start time over ``exec``, so the program holds the memory for as long as it lives,
and knows nothing of it.
"""

from __future__ import annotations

import os
import shutil
import sys

from pool_managerd.devices.simulated_folder import SimulatedFolder
from pool_managerd.engines.simulated.options import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing this costs more than all the rest of this module
    from typing import NoReturn

_USAGE = (
    "usage: pool-managerd-simulated-hold BYTES PROGRAM [ARGUMENT...]   (BYTES: a number, or a size such as 64MiB)\n"
)


def main() -> NoReturn:
    """Hold the memory, then be the program. Exit code 2 for wrong usage, 127 for a program that isn't there."""
    try:
        held = parse_size(sys.argv[1])
        name = sys.argv[2]
    except (IndexError, ValueError) as error:
        sys.stderr.write(f"{_USAGE}pool-managerd-simulated-hold: {error}\n")
        sys.exit(2)
    program = shutil.which(name)
    if program is None:
        sys.stderr.write(f"pool-managerd-simulated-hold: no program {name!r}\n")
        sys.exit(127)
    folder = os.environ.get("POOL_MANAGERD_SIMULATED_DIR")
    devices = [uuid for uuid in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if uuid]
    if folder and devices:
        SimulatedFolder(folder).allocate(os.getpid(), dict.fromkeys(devices, held // len(devices)))
    os.execv(program, [program, *sys.argv[3:]])  # noqa: S606 - to be the program, without a shell, is the point
