"""The command ``pool-managerd``. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys


def main() -> None:
    """Run the command line of this process and exit: 0 done, 1 refused, 2 wrong usage or config, 3 no daemon."""
    if sys.argv[1:] == ["--version"]:
        from pool_managerd import __version__  # noqa: PLC0415 - the quick way

        sys.stdout.write(f"pool-managerd {__version__}\n")
        return
    _mend_streams()
    gc.disable()  # what is imported stays
    from pool_managerd.cli.app import app  # noqa: PLC0415 - not needed above

    gc.freeze()
    gc.enable()
    try:
        app(prog_name="pool-managerd")
    finally:
        gc.freeze()  # the process ends, and every file was closed by who opened it: no garbage need be looked for


def _mend_streams() -> None:
    """Print what the terminal's character set lacks as ``?``, and print to nowhere where a stream was closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - for the whole process
        elif isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError):
                stream.reconfigure(errors="replace")
