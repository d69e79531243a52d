"""A process that SIGKILL does not end: a program that holds another one in the last step of its exit.

Run as ``python -I -S unkillable.py PID``. It traces the process (ptrace) and asks the kernel to stop it right before it
is gone. A process that hangs in a driver looks the same from outside: it has its pid and its memory, and no signal
reaches it. When this program ends, so does the process.

It prints ``holding``, or why it cannot, and waits for the end of its standard input.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

# linux/ptrace.h
_PTRACE_SEIZE = 0x4206
_PTRACE_O_TRACEEXIT = 1 << 6


def hold(pid: int) -> None:
    """Trace a process, so that it stops in the last step of its exit.

    :raises OSError: if this process may not.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = (ctypes.c_long,) * 4
    if libc.ptrace(_PTRACE_SEIZE, pid, 0, _PTRACE_O_TRACEEXIT) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def stays() -> bool:
    """Whether a process that is held outlasts SIGKILL here; old kernels let a second one through."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]) as trial:
        hold(trial.pid)
        for _ in range(2):
            os.kill(trial.pid, signal.SIGKILL)
            time.sleep(0.05)
        with open(f"/proc/{trial.pid}/stat", encoding="utf-8") as file:  # noqa: PTH123  # quick to start
            held = file.read().rpartition(")")[2].split()[0] in "tT"
        # It goes on, and ends, once its tracer stops tracing it.
        libc = ctypes.CDLL(None)
        os.waitpid(trial.pid, os.WUNTRACED)
        libc.ptrace(17, trial.pid, 0, 0)  # PTRACE_DETACH
    return held


def main() -> None:
    """Hold the process until standard input ends."""
    try:
        if not stays():
            print("this kernel ends a traced process all the same", flush=True)  # noqa: T201  # the answer
            return
        hold(int(sys.argv[1]))
    except OSError as error:
        print(f"tracing it is not allowed: {error}", flush=True)  # noqa: T201  # the answer
        return
    print("holding", flush=True)  # noqa: T201  # the answer
    sys.stdin.read()


if __name__ == "__main__":
    main()
