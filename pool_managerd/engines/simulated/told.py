"""What the control file tells one stand-in engine: which document holds, and whether its actions are to be done.

Standard library only.
"""

from __future__ import annotations

import os

from pool_managerd.engines.simulated import control
from pool_managerd.engines.simulated.options import BY_NAME, CONTROL_KEYS, convert

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing these costs more than all the rest of this module
    from collections.abc import Callable, Mapping
    from typing import Any


class Told:
    """The control file of one replica, as one process reads it.

    :param model_name: file name of the model that this process serves.
    :param flags: what the command line says.
    :param log: takes a line and its level.
    """

    def __init__(
        self,
        folder: str,
        pool_id: str,
        replica_id: str,
        model_name: str,
        flags: Mapping[str, Any],
        log: Callable[[str, str], None],
    ) -> None:
        self.path = control.control_path(folder, pool_id, replica_id)
        #: One value for each setting: the flags' and, over them, the states of the document that holds.
        self.values: dict[str, Any] = dict(flags)
        self._applied = control.applied_path(folder, pool_id, replica_id)
        self._model_name = model_name
        self._flags = flags
        self._log = log
        self._document = ""
        self._starts = 0

    def read(self, *, starting: bool) -> dict[str, Any] | None:
        """Take over the document's states, and return its actions if they are to be done now.

        :param starting: whether this process starts just now; what holds for some starts does not hold otherwise.
        """
        document = control.read_json(self.path)
        if not document:
            self.values, self._document = dict(self._flags), ""
            return None
        identity = str(document.get("id") or self._file_identity())
        if identity == self._document:
            return None
        self._document = identity
        seen = control.read_json(self._applied)
        self._starts = int(seen.get("starts", 0)) if seen.get("id") == identity else 0
        times = self._times(document)
        over = times is not None and (not starting or self._starts >= times)
        if over or document.get("model") not in (None, self._model_name):
            self.values = dict(self._flags)
            return None
        said = self._known(document)
        self.values = {**self._flags, **{name: value for name, value in said.items() if not BY_NAME[name].action}}
        self._starts += 1
        return said if times is not None or self._starts == 1 else None

    def acknowledge(self) -> None:
        """Say which document holds. To be called once it does, but before what may end the process."""
        if self._document:
            value = {"id": self._document, "starts": self._starts, "pid": os.getpid()}
            control.write_json(self._applied, value)

    def _times(self, document: dict[str, Any]) -> int | None:
        try:
            return None if document.get("times") is None else int(document["times"])
        except (TypeError, ValueError) as error:
            self._log(f"control file: {error}", "W")
            return None

    def _known(self, document: dict[str, Any]) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for name, value in document.items():
            if name in CONTROL_KEYS:
                continue
            try:
                said[name] = convert(BY_NAME[name], value)
            except (KeyError, ValueError) as error:
                self._log(f"control file: {name!r} is not understood: {error}", "W")
        return said

    def _file_identity(self) -> str:
        try:
            status = os.stat(self.path)  # noqa: PTH116  # a string
        except OSError:
            return ""
        return f"{status.st_ino}-{status.st_mtime_ns}"
