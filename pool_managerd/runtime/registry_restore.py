"""The daemon's start: pools as they were, engines that still run, and what the last daemon had promised."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pool_managerd.config import PoolConfig
from pool_managerd.core.errors import PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.core.leases import Lease, LeaseEnd
from pool_managerd.core.phases import Desired, Phase
from pool_managerd.core.replica_state import Input, Signal
from pool_managerd.runtime.adoption import Adoption
from pool_managerd.runtime.draining import PoolDrain
from pool_managerd.runtime.identity import ProcessIdentity
from pool_managerd.runtime.pool import Pool
from pool_managerd.runtime.reloading import PoolReload
from pool_managerd.runtime.replica import Replica
from pool_managerd.runtime.run import identity_from_json
from pool_managerd.runtime.store import Delete, Operation, Put

if TYPE_CHECKING:
    from pool_managerd.runtime.registry import Registry


class RegistryRestore:
    """Brings back what the store and the running engines tell of the time before."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.host = registry.host
        self._adoption: Adoption | None = None

    async def restore(self) -> None:
        """Bring back what was, adopt what runs, and clean up what nobody wants. Nothing is started yet."""
        store = self.host.store
        replica_documents = store.load("replica")
        pool_documents = store.load("pool")
        self.registry.devices.restore(store.load("device"))
        adoption = self._adoption = Adoption(self.host, replica_documents)
        for config in self.host.config.pools:
            pool = self._restore_pool(config, pool_documents.get(config.id))
            for replica in pool.replicas.values():
                adoption.restore(pool, replica)
        self._restore_leases(store.load("lease"))
        for key, error in self.host.learned.unusable.items():
            self._warn_of_document("need", key, error)
        left = await adoption.clean_up()
        for pool_id, replica_id in sorted(left):
            known = self.registry.pools.get(pool_id)
            if known is not None and replica_id in known.replicas:
                adoption.reap(known.replicas[replica_id])
        self._forget_strangers(replica_documents, pool_documents, left)

    def begin(self) -> None:
        """Let everything go on from where it was, and start what is desired to run."""
        adoption = self._adoption
        if adoption is None:
            raise RuntimeError("restore comes before begin")
        self.registry.devices.connect()
        due: list[tuple[Pool, Replica]] = []
        for pool in self.registry.pools.values():
            due += [(pool, replica) for replica in pool.replicas.values() if adoption.resume(pool, replica)]
            self._resume_operation(pool)
            pool.arm_expiry()
            pool.post()
        self.host.start_task(self._start_in_turn(due), "first starts")

    @staticmethod
    async def _start_in_turn(due: list[tuple[Pool, Replica]]) -> None:
        """Start one replica after the other, and let callers in between: a start costs the loop about a millisecond."""
        for pool, replica in due:
            if replica.state.phase is Phase.STOPPED and pool.desired is Desired.RUNNING and not pool.removed:
                replica.start(Input(Signal.START, reason="the daemon starts"), trigger="serve")
                await asyncio.sleep(0)

    def _restore_pool(self, config: PoolConfig, document: dict[str, Any] | None) -> Pool:
        desired = Desired.RUNNING if config.preload else Desired.STOPPED
        pool = self.registry.add(config, desired)
        if document is not None:
            try:
                self._restore_wishes(pool, document)
            except (KeyError, TypeError, ValueError) as error:
                self._warn_of_document("pool", pool.id, error)
        self.registry.link_log(config)
        return pool

    @staticmethod
    def _restore_wishes(pool: Pool, document: dict[str, Any]) -> None:
        """What its operator wanted of a pool, and what was under way."""
        config = pool.config
        pool.retired_restarts = int(document["retired_restarts"])
        drained, desired = bool(document.get("drained", False)), Desired(document["desired"])
        drain, reload = document["drain"], document["reload"]
        if document["model_override"] is not None and document["override_of"] == config.model_ref:
            pool.override_model(document["model_override"], Path(document["override_path"]))
        pool.drained, pool.pending_drain, pool.pending_reload = drained, drain, reload
        if not config.preload or drained:
            pool.desired = desired

    def _restore_leases(self, documents: dict[str, dict[str, Any]]) -> None:
        """Leases on engines that still run go on; those whose engine is gone are over."""
        gone = []
        for key, document in documents.items():
            try:
                lease = Lease.from_json(document, now=self.host.monotonic(), wall=self.host.clock())
            except (KeyError, TypeError, ValueError) as error:
                self._warn_of_document("lease", key, error)
                gone.append(Delete("lease", key))
                continue
            pool = self.registry.pools.get(lease.pool_id)
            if pool is None:
                gone.append(Delete("lease", key))
                continue
            pool.leases.add(lease)
            replica = pool.replicas.get(lease.replica_id)
            if replica is None or replica.run is None:
                pool.end_leases([lease], LeaseEnd.FORCED, "its engine ended while no daemon was running")
        if gone:
            self.host.store.post(gone)

    def _forget_strangers(
        self, replicas: dict[str, dict[str, Any]], pools: dict[str, Any], left: set[tuple[str, str]]
    ) -> None:
        """Drop what the store knows of pools and replicas that the config no longer has, and end what runs of them."""
        strangers = {(pool_id, replica_id) for pool_id, _, replica_id in (key.partition("/") for key in replicas)}
        for pool_id, replica_id in sorted(strangers | left):
            pool = self.registry.pools.get(pool_id)
            if pool is not None and replica_id in pool.replicas:
                continue
            key = f"{pool_id}/{replica_id}"
            document = replicas.get(key)
            then: list[Operation] = [Delete("replica", key)]
            if pool is None:
                then.append(Delete("pool", pool_id))
            elif document is not None:
                # What the config dropped meanwhile still counts, and counts once.
                pool.retired_restarts += _restarts(document)
                self.host.store.post([Delete("replica", key), Put("pool", pool.id, pool.document())])
            self.registry.left_behind.end(
                pool_id, replica_id, _identity(document), first=replica_id == "r0" and pool is None, then=then
            )
        unknown = [Delete("pool", pool_id) for pool_id in pools if pool_id not in self.registry.pools]
        unknown = [one for one in unknown if not any(one.key == pool_id for pool_id, _ in strangers)]
        if unknown:
            self.host.store.post(unknown)

    def _warn_of_document(self, kind: str, key: str, error: Exception) -> None:
        self.host.bus.publish(
            EventKind.DAEMON,
            to="warning",
            reason=f"the stored {kind} {key} cannot be used, and is left out: {error!r}",
            details={"kind": kind, "key": key},
        )

    def _resume_operation(self, pool: Pool) -> None:
        """Go on with a drain or reload that the last daemon had promised."""
        drain, reload = pool.pending_drain, pool.pending_reload
        if drain is not None:
            PoolDrain(pool, drain["deadline"], "operator", drain["began"]).begin()
        elif pool.desired is Desired.STOPPED:
            pool.pending_reload = None
            for replica in pool.replicas.values():
                replica.signal(Input(Signal.STOP, reason=pool.stopped_because))
        elif reload is not None:
            self._resume_reload(pool, reload)

    def _resume_reload(self, pool: Pool, told: dict[str, Any]) -> None:
        """A promised reload begins anew, once what is coming up has come up; the pool is its own until then.

        If its model is not to be had any more, it ends with the old one on all replicas.
        """
        model, fault = Path(told["model_ref"]), None
        try:
            model = self.host.config.resolve_model_ref(told["model_ref"])
        except PoolManagerError as error:
            fault = error
        PoolReload(pool, told["model_ref"], model, told["drain_ms"], fault).begin(resumed=True)


def _identity(document: dict[str, Any] | None) -> ProcessIdentity | None:
    """The main process of a replica's document, as far as that tells."""
    try:
        return identity_from_json(document["run"]["identity"]) if document is not None else None
    except (KeyError, TypeError, ValueError):
        return None


def _restarts(document: dict[str, Any]) -> int:
    """The restarts of a replica's document, as far as that tells."""
    try:
        return int(document["history"]["restart_count"])
    except (KeyError, TypeError, ValueError):
        return 0
