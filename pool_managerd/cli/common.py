"""What the commands share: their options, how they end, and how they print."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pool_managerd.cli.client import DEFAULT_ADDRESS, Client
from pool_managerd.cli.errors import CommandError, Exit, WrongUsageError

if TYPE_CHECKING:
    from rich.table import Table

#: How wide a table may become where nobody looks at it on a terminal.
_WIDE = 400

Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help=f"HTTP address of the daemon. Default: POOL_MANAGERD_ADDR or {DEFAULT_ADDRESS}.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="File with the API token. Default: LLORCH_API_TOKEN."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PoolId = Annotated[str, typer.Argument(metavar="POOL", help="The pool's id.")]
Wait = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0, max=3600, help="How long to wait.")]


def connect(address: str | None, token_file: Path | None) -> Client:
    """Make the client that the options, else the environment, ask for."""
    return Client(address or os.environ.get("POOL_MANAGERD_ADDR") or DEFAULT_ADDRESS, read_token(token_file))


def read_token(token_file: Path | None) -> str | None:
    """The token of the file, else of LLORCH_API_TOKEN, else none.

    :raises WrongUsageError: if the file can't be read, or holds no token.
    """
    if token_file is None:
        token = os.environ.get("LLORCH_API_TOKEN", "").strip()
        if not token.isascii() or not token.isprintable():
            raise WrongUsageError("LLORCH_API_TOKEN: it must be one line of ASCII text")
        return token or None
    try:
        token = token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise WrongUsageError(f"--token-file {token_file}: {reason}") from error
    if not token.isascii() or not token.isprintable() or not token:
        raise WrongUsageError(f"--token-file {token_file}: it must hold one line with the token")
    return token


def print_json(document: Any) -> None:
    """Print one document, indented."""
    say(json.dumps(document, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """Print a line of the command's result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Print a line beside the result: progress, remarks."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def make_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Lay out rows of plain text."""
    from rich import box  # noqa: PLC0415 - only who prints a table pays for it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of plain text; where stdout is no terminal, without folding any."""
    from rich.console import Console  # noqa: PLC0415 - only who prints a table pays for it

    Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, soft_wrap=False).print(
        make_table(columns, rows)
    )


def format_bytes(size: float | None) -> str:
    """A size in binary units with at most one decimal; ``-`` for none."""
    if size is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" or size == int(size) else f"{size:.1f} {unit}"


class Group(TyperGroup):
    """Ends commands: what was refused is said on stderr with its code and hint, never as a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command and turn what ends it into its exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except CommandError as error:
            for line in error.lines():
                note(line)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            raise typer.Exit(Exit.INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever read our output has read enough (`… | head`). Nothing may be written to it at exit either.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(Exit.DONE) from None
        except OSError as error:
            # What else the system refuses: stdout on a full disk.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            note(f"cannot go on: {error.strerror or error}")
            raise typer.Exit(Exit.REFUSED) from error
        return result
