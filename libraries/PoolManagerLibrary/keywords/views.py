"""What different surfaces, files and moments show of one pool, compared with each other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords, dig
from PoolManagerLibrary.keywords.metrics import MetricKeywords
from PoolManagerLibrary.operations import call
from PoolManagerLibrary.outcome import Protocol
from PoolManagerLibrary.scenario import Pool
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until

#: Says how far the stream had come when the status was made; it differs between any two looks.
MOVING = ("revision",)
SETTLE_S = 2.0


class ViewKeywords(Keywords):
    """Keywords that compare views of a pool."""

    # -- surfaces -----------------------------------------------------------------------------------------------

    @keyword
    def views_should_agree(self, name: str = "the pool", *fields: str) -> dict[str, Any]:
        """Checks that single status and pool list, over HTTP and gRPC, show the same of a pool.

        Without ``fields`` the whole documents are compared, but for ``revision``. Returns the status.

        Example:
        | Views Should Agree | the pool | last_error | model |
        """
        pool_id = self.scenario.pool_id(name)
        ways: dict[str, Callable[[], dict[str, Any]]] = {
            "the list over HTTP": lambda: self._listed(pool_id, Protocol.HTTP),
            "the status over gRPC": lambda: self.status(pool_id, Protocol.GRPC),
            "the list over gRPC": lambda: self._listed(pool_id, Protocol.GRPC),
        }
        for what, look in ways.items():
            status, other = self._side_by_side(pool_id, look, fields)
            if status != other:
                raise ExpectationFailed(
                    f"Status and {what} should show the same of pool {pool_id}: {_difference(status, other)}"
                )
        return self.status(pool_id)

    def _side_by_side(
        self, pool_id: str, look: Callable[[], dict[str, Any]], fields: tuple[str, ...]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        # A status that is the same before and after was also true in between.
        def pair() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
            before, other, after = self.status(pool_id), look(), self.status(pool_id)
            return _only(before, fields), _only(other, fields), _only(after, fields)

        before, other, _ = wait_until(
            pair,
            lambda seen: seen[0] == seen[2],
            timeout=SETTLE_S,
            expected=f"the status of pool {pool_id} to rest for a moment",
            show=lambda seen: _difference(seen[0], seen[2]),
        ).value
        return before, other

    def _listed(self, pool_id: str, protocol: Protocol) -> dict[str, Any]:
        body = self.must(call(self.daemon, "list", protocol=protocol)).body
        pools = body["pools"] if isinstance(body, dict) else body
        mine: list[dict[str, Any]] = [pool for pool in pools if pool["pool_id"] == pool_id]
        if len(mine) != 1:
            raise ExpectationFailed(
                f"Pool {pool_id} should be listed once over {protocol.value}, it is {len(mine)} times."
            )
        return mine[0]

    @keyword
    def pool_list_should_be_whole_and_ordered(self, protocol: str = "HTTP") -> list[str]:
        """Checks that the pool list names every pool of the config file once, in the order of the ids. Returns the ids.

        Example:
        | Pool List Should Be Whole And Ordered | gRPC |
        """
        daemon = self.daemon
        way = Protocol.GRPC if protocol.lower() == "grpc" else Protocol.HTTP
        ids = [str(pool["pool_id"]) for pool in self.must(call(daemon, "list", protocol=way)).body["pools"]]
        if ids != sorted(daemon.pools):
            raise ExpectationFailed(f"The pool list should be {sorted(daemon.pools)}, it is {ids}.")
        return ids

    # -- moments ------------------------------------------------------------------------------------------------

    @keyword
    def remember_status(self, name: str = "the pool") -> None:
        """Remembers the status of a pool, or several, for `Status Should Be As Remembered`.

        Example:
        | Remember Status | every pool |
        """
        for pool in self.scenario.pools_named(name):
            self.scenario.memory[f"status {pool.pool_id}"] = self.status(pool.pool_id)

    @keyword
    def status_should_be_as_remembered(
        self, name: str = "the pool", *but_for: str, within: timedelta = timedelta(seconds=1)
    ) -> None:
        """Checks that a pool's status is the one of `Remember Status`, but for ``revision`` and the named fields.

        Example:
        | Status Should Be As Remembered | the pool | engine_version |
        """
        left_out = {word for part in but_for for word in re.split(r",\s*|\s+and\s+", part) if word}
        for pool in self.scenario.pools_named(name):
            noted = self.scenario.memory.get(f"status {pool.pool_id}")
            if noted is None:
                raise UsageError(f"The status of {name} has not been noted yet.")
            wanted = _without(noted, left_out)
            wait_until(
                lambda pool=pool: _without(self.status(pool.pool_id), left_out),  # type: ignore[misc]  # bound in the loop
                lambda seen, wanted=wanted: seen == wanted,  # type: ignore[misc]  # bound in the loop
                timeout=seconds(within),
                expected=f"the status of pool {pool.pool_id} to be as noted",
                show=lambda seen, wanted=wanted: _difference(wanted, seen),  # type: ignore[misc]  # bound in the loop
                context=lambda pool=pool: self.explain(pool),  # type: ignore[misc]  # bound in the loop
            )

    @keyword
    def remember_command_line(self, engine: str = "the engine") -> None:
        """Remembers the engine's arguments as its handoff file tells them, for `Command Line Should Differ Only In`.

        Example:
        | Remember Command Line | the engine |
        """
        self.scenario.memory[f"flags {engine}"] = self._handoff(engine)["flags"]

    @keyword
    def command_line_should_differ_only_in(self, engine: str = "the engine", *flags: str) -> None:
        """Checks that the engine's arguments are those remembered but for the values of these flags and the port.

        Example:
        | Command Line Should Differ Only In | the engine | --slots |
        """
        before, now = self.scenario.memory[f"flags {engine}"], self._handoff(engine)["flags"]
        changed = [
            before[place - 1] if place else before[0]
            for place, (old, new) in enumerate(zip(before, now, strict=False))
            if old != new
        ]
        if len(before) != len(now) or set(changed) - {"--port"} != set(flags):
            raise ExpectationFailed(
                f"The arguments of {engine} should differ in {', '.join(flags) or 'nothing'}; they were\n"
                f"{' '.join(before)}\nand are\n{' '.join(now)}"
            )

    # -- files and metrics --------------------------------------------------------------------------------------

    @keyword
    def handoff_should_agree_with_status(
        self, name: str = "the pool", within: timedelta = timedelta(seconds=1)
    ) -> None:
        """Checks that the handoff files of a pool's Ready replicas tell what its status tells, and in sum its slots.

        Engine, version, ids, url, pid, devices, the file of the model, and the slots. Example:
        | Handoff Should Agree With Status | the pool |
        """
        pool = self.scenario.pool(name)
        wait_until(
            lambda: self._handoff_problems(pool),
            lambda problems: not problems,
            timeout=seconds(within),
            expected=f"the handoff files of pool {pool.pool_id} to agree with its status",
            show="; ".join,
            context=lambda: self.explain(pool),
        )

    def _handoff_problems(self, pool: Pool) -> list[str]:
        status = self.status(pool.pool_id)
        ready = [one for one in status["replicas"] if one["ready"]]
        try:
            files = [self._handoff(f"{pool.alias}/{one['replica_id']}") for one in ready]
        except ExpectationFailed as error:
            return [str(error)]
        pairs: list[tuple[str, Any, Any]] = [
            ("slots in sum", sum(file["slots"] for file in files), status["slots_total"]),
            ("device_mask in sum", [uuid for file in files for uuid in file["device_mask"]], status["device_mask"]),
        ]
        for replica, file in zip(ready, files, strict=True):
            pairs += [
                (f"{field} of {replica['replica_id']}", file[field], wanted)
                for field, wanted in (
                    ("engine", status["engine"]),
                    ("engine_version", status["engine_version"]),
                    ("pool_id", status["pool_id"]),
                    ("replica_id", replica["replica_id"]),
                    ("url", replica["url"]),
                    ("pid", replica["pid"]),
                    ("device_mask", replica["devices"]),
                )
            ]
            path = Path(file["model"]["path"])
            pairs.append(("model.path", path, self._model_path(status["model"])))
            if not path.is_file():
                return [f"model.path {path} is no file"]
        return [f"{what} is {seen!r}, not {wanted!r}" for what, seen, wanted in pairs if seen != wanted]

    def _model_path(self, reference: str) -> Path:
        daemon = self.world.selected
        places = [daemon.root / reference, daemon.models_path / reference]
        return next((path for path in places if path.exists()), places[0])

    def _handoff(self, engine: str) -> dict[str, Any]:
        pool, replica = self.scenario.replica(engine)
        path = self.world.selected.handoff_path(pool.pool_id, replica)
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ExpectationFailed(f"There is no handoff file {path}.") from None
        return document

    @keyword
    def mask_should_be_the_same_everywhere(self, name: str = "the pool", *gpus: str) -> None:
        """Checks that status, list, handoff files and the ``device`` labels of a pool's metrics name the same devices.

        With ``gpus`` these must be exactly the GPUs of the scenario named here. Example:
        | Mask Should Be The Same Everywhere | the pool | big | small |
        """
        pool = self.scenario.pool(name)
        status = self.views_should_agree(name, "device_mask", "replicas")
        mask = status["device_mask"]
        if gpus and set(mask) != {self.scenario.gpu(gpu).uuid for gpu in gpus}:
            raise ExpectationFailed(
                f"The mask of pool {pool.pool_id} should be that of {', '.join(gpus)}, it is {mask}."
            )
        of_replicas = [uuid for replica in status["replicas"] for uuid in replica["devices"]]
        handoffs = [
            uuid for replica in pool.replicas for uuid in self._handoff(f"{pool.alias}/{replica}")["device_mask"]
        ]
        for what, seen in (("the replicas' devices", of_replicas), ("the handoff files", handoffs)):
            if seen != mask:
                raise ExpectationFailed(f"The mask of pool {pool.pool_id} is {mask}, {what} name {seen}.")
        wait_until(
            lambda: self._label_values(pool.pool_id, "device"),
            lambda seen: seen == set(mask),
            timeout=SETTLE_S,
            expected=f"the labels of the metrics of pool {pool.pool_id} to name {sorted(mask)}",
        )

    def _label_values(self, pool_id: str, label: str) -> set[str]:
        samples = MetricKeywords(self.world).samples()
        return {has[label] for _, has, _ in samples if has.get("pool_id") == pool_id and label in has}

    # -- errors and events --------------------------------------------------------------------------------------

    @keyword
    def list_revision_should_be_the_newest(self) -> int:
        """Checks that the pool list's revision is that of the newest event, and above the one that this saw last.

        Example:
        | ${revision} = | List Revision Should Be The Newest |
        """
        revision = int(self.must(call(self.daemon, "list")).body["revision"])
        grpc = int(self.must(call(self.daemon, "list", protocol=Protocol.GRPC)).body["revision"])
        self.world.sync_events()
        newest = self.world.selected.events.events()[-1]
        if not revision == grpc == newest.revision:
            raise ExpectationFailed(
                f"The pool list's revision should be that of the newest event, {newest.describe()}; "
                f"it is {revision} over HTTP and {grpc} over gRPC."
            )
        last = self.scenario.memory.get("list revision", -1)
        if revision <= last:
            raise ExpectationFailed(f"The pool list's revision should have grown since {last}, it is {revision}.")
        self.scenario.memory["list revision"] = revision
        return revision

    @keyword
    def changes_after_revision_should_be(self, events: list[dict[str, Any]], revision: int) -> None:
        """Checks that a watcher that started from a revision got each event after it once, in order, and no other.

        Example:
        | ${events} = | Get Watched Events |
        | Changes After Revision Should Be | ${events} | ${revision} |
        """
        self.world.sync_events()
        wanted = [event.document for event in self.world.selected.events.events() if event.revision > revision]
        if not wanted or events != wanted:
            raise ExpectationFailed(
                f"The watcher should have got the revisions {[one['revision'] for one in wanted]}, "
                f"it got {[one['revision'] for one in events]}."
            )


def _only(document: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {field: dig(document, field) for field in fields} if fields else _without(document, set())


def _without(document: dict[str, Any], fields: set[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in document.items():
        if key in fields or key in MOVING:
            continue
        inner = {field.removeprefix(f"{key}.") for field in fields if field.startswith(f"{key}.")}
        if inner and isinstance(value, list):
            kept[key] = [_without(item, inner) for item in value]
        else:
            kept[key] = _without(value, inner) if inner and isinstance(value, dict) else value
    return kept


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    keys = [key for key in {**one, **other} if one.get(key, "absent") != other.get(key, "absent")]
    return (
        "; ".join(f"{key}: {one.get(key, 'absent')!r}, not {other.get(key, 'absent')!r}" for key in keys)
        or "nothing differs"
    )
