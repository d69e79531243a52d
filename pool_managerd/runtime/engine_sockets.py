"""Where an engine that talks to its own processes through unix sockets may make them.

In the replica's own folder below the state directory: nobody else can write there, no other daemon uses it, and it can
be written under the unit file's ``ProtectSystem=strict``. A socket's path may be no longer than 107 bytes, and an
engine that runs as another user cannot enter the state directory. Then they lie in ``TMPDIR``, as the pool's ``env``
or the daemon's own environment say it, or else in ``/tmp``, under a name that nobody can know before the engine starts:
in a folder for everybody, a known one could be taken.
"""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Mapping
from pathlib import Path

from pool_managerd.config import PoolConfig
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.engines.base import Engine
from pool_managerd.runtime.host import Host

#: The longest path of a unix socket in bytes (``sun_path`` without its NUL).
LONGEST = 107
#: What an engine adds to the path: ``-<rank>``.
SUFFIX = len("-999")


def socket_environment(host: Host, pool: PoolConfig, replica_id: str, engine: Engine) -> dict[str, str]:
    """The variable that tells a replica's engine where to make its sockets; none where it makes none or `env` has it.

    :raises PoolManagerError: INVALID_REQUEST where there is no place for them.
    """
    variable = engine.socket_variable
    if variable is None or variable in pool.env:
        return {}
    stem = socket_stem(
        host.state_dir.work_path(pool.id, replica_id),
        pool.id,
        replica_id,
        user=pool.user if _is_another(pool.user) else None,
        env=pool.env,
    )
    return {variable: str(stem)}


def socket_stem(work_dir: Path, pool_id: str, replica_id: str, *, user: str | None, env: Mapping[str, str]) -> Path:
    """The absolute path to which the engine adds a suffix for each of its sockets.

    :param work_dir: the replica's own folder, which need not be there yet.
    :param user: as whom the engine runs, if not as the daemon.
    :param env: the pool's own environment.
    :raises PoolManagerError: INVALID_REQUEST where there is no place for them; the hint says what would help.
    """
    own = work_dir.absolute() / "shard"
    own_bytes = len(os.fsencode(own)) + SUFFIX
    if user is None and own_bytes <= LONGEST:
        return own
    why = f"user {user} cannot enter it"
    if user is None:
        why = f"sockets there have {own_bytes} bytes, {LONGEST} are possible"
    folder = Path(env.get("TMPDIR") or os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - the name is a fresh secret
    stem = folder / f"pm-{secrets.token_hex(8)}"
    problem = None
    if not folder.is_absolute():
        problem = "is no absolute path"
    elif not folder.is_dir():
        problem = "is no folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        problem = "cannot be written"
    elif len(os.fsencode(stem)) + SUFFIX > LONGEST:
        problem = "has too long a path"
    if problem is not None:
        raise PoolManagerError(
            Code.INVALID_REQUEST,
            f"pool {pool_id} replica {replica_id}: its engine's unix sockets have no place: the replica's folder "
            f"{work_dir} is none ({why}), and {folder} {problem}",
            hint="name a folder with a short path that the engine may write as TMPDIR in the pool's `env`, "
            "or choose a shorter `state_dir`",
            details={"folder": str(folder), "problem": problem, "work_dir": str(work_dir)},
        )
    return stem


def _is_another(user: str | None) -> bool:
    """Whether this is another user than the daemon's."""
    if user is None:
        return False
    try:
        return pwd.getpwnam(user).pw_uid != os.geteuid()
    except KeyError:
        return True  # which a later check says
