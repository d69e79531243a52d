"""The command ``pool-managerd``. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process and exit: 0 done, 1 refused, 2 wrong usage or config, 3 no daemon."""
    if sys.argv[1:] == ["--version"]:
        from pool_managerd import __version__  # noqa: PLC0415 - the quick way

        sys.stdout.write(f"pool-managerd {__version__}\n")
        return
    from pool_managerd.cli.app import app  # noqa: PLC0415 - not needed above

    app(prog_name="pool-managerd")
