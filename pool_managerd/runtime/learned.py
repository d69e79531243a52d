"""Remembers what engines were measured to hold, for the checks before their next start."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pool_managerd.config import PoolConfig
from pool_managerd.devices.learned import Peak, chosen, need_key, with_peak
from pool_managerd.devices.need import Need
from pool_managerd.devices.snapshot import Device
from pool_managerd.engines import get_engine
from pool_managerd.engines.base import EngineSpec
from pool_managerd.runtime.run import Run
from pool_managerd.runtime.store import Delete, Put, Store

_log = logging.getLogger(__name__)

#: The kind of document in the store; a key is that of :func:`need_key`, a slash and the engine's version.
KIND = "need"
#: A peak is remembered anew only if it has grown by more than this, in bytes: not at every little change.
STEP = 1 << 20
#: So many are remembered; the oldest goes first.
MOST = 500


class LearnedNeeds:
    """The measured peaks of this daemon and those before it.

    :param store: where they outlive the daemon.
    :ivar unusable: why stored documents are left out, by key.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._peaks, self.unusable = _peaks(store.load(KIND).items())

    def apply(
        self,
        key: str | None,
        version: str | None,
        need: Need,
        devices: Sequence[Device],
        split: Sequence[float],
        overhead: int,
    ) -> Need:
        """A need with what was measured; ``version`` is the engine's, as far as it is known before the start."""
        return with_peak(need, _chosen(self._peaks, key, version), devices, split, overhead)

    async def note(self, run: Run, held: Sequence[int], sizes: Sequence[int]) -> None:
        """Remember what a run holds on its GPUs, in mask order, if it is more than ever before.

        :param sizes: bytes of memory of each of the GPUs.
        """
        known_by = await asyncio.to_thread(key_of_run, run, sizes)
        if known_by is None:
            return
        key = f"{known_by}/{run.version or ''}"
        before = self._peaks.get(key)
        peak = tuple(held)
        if before is not None and len(before.held) == len(peak):
            peak = tuple(max(pair) for pair in zip(before.held, peak, strict=True))
            if all(new - old <= STEP for new, old in zip(peak, before.held, strict=True)):
                return
        self._peaks[key] = Peak(peak, run.version, self._clock())
        self._store.post([Put(KIND, key, self._peaks[key].as_json())])
        while len(self._peaks) > MOST:
            oldest = min(self._peaks, key=lambda one: self._peaks[one].at)
            del self._peaks[oldest]
            self._store.post([Delete(KIND, oldest)])


def _chosen(peaks: dict[str, Peak], key: str | None, version: str | None) -> Peak | None:
    return chosen((peak for name, peak in peaks.items() if name.partition("/")[0] == key), version)


def key_of_pool(pool: PoolConfig, model: Path | None, split: Sequence[float], sizes: Sequence[int]) -> str | None:
    """What a pool's memory depends on; ``None`` where nothing is learned of its kind of engine."""
    return _key(pool.engine, model, split, sizes, pool)


def key_of_run(run: Run, sizes: Sequence[int]) -> str | None:
    """The same of a running engine."""
    return _key(run.spec.kind, run.spec.model, run.spec.split, sizes, run.spec)


def _key(
    engine: str, model: Path | None, split: Sequence[float], sizes: Sequence[int], flags: PoolConfig | EngineSpec
) -> str | None:
    if get_engine(engine).takes_share:
        return None
    return need_key(
        engine=engine,
        model=model,
        args=flags.args,
        command=flags.command,
        context=flags.context,
        slots=flags.slots,
        kv_type=flags.kv_type,
        split=split,
        simulated=flags.simulated,
        sizes=sizes,
    )


def read_learned(
    database: Path, overhead: int
) -> Callable[[PoolConfig, Path | None, Sequence[Device], Sequence[float], Need], Need]:
    """What daemons of a state directory have learned, read without one: for the plan. No database: nothing.

    :param overhead: bytes that stay free on each GPU.
    """
    documents: list[tuple[str, str]] = []
    if database.is_file():
        try:
            connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
            try:
                documents = connection.execute("SELECT key, document FROM documents WHERE kind = ?", (KIND,)).fetchall()
            finally:
                connection.close()
        except sqlite3.Error:
            documents = []  # another version's, or damaged: the daemon says so, the plan goes by the model files
    peaks, unusable = _peaks((key, _read(document)) for key, document in documents)
    for key, error in unusable.items():
        _log.warning("the stored need %s cannot be used, and is left out: %r", key, error)

    def learned(
        pool: PoolConfig, model: Path | None, devices: Sequence[Device], split: Sequence[float], need: Need
    ) -> Need:
        key = key_of_pool(pool, model, split, [device.total for device in devices])
        return with_peak(need, _chosen(peaks, key, pool.engine_version), devices, split, overhead)

    return learned


def _read(document: str) -> Any:
    """A document of the database; ``None`` if it is none."""
    try:
        return json.loads(document)
    except ValueError:
        return None


def _peaks(documents: Iterable[tuple[str, Any]]) -> tuple[dict[str, Peak], dict[str, Exception]]:
    """The peaks of the store's documents, and what is wrong with those that are not what a daemon writes."""
    peaks: dict[str, Peak] = {}
    unusable: dict[str, Exception] = {}
    for key, document in documents:
        try:
            peaks[key] = Peak.from_json(document)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            unusable[key] = error
    return peaks, unusable
