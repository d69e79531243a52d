"""What is asked of pools: preload, drain, stop, reload, reset."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.operations import call, protocol_of
from PoolManagerLibrary.outcome import Outcome
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import LOAD_LIMIT


class PoolOperationKeywords(Keywords):
    """Keywords that operate pools."""

    @keyword
    def preload_pool(
        self,
        name: str = "the pool",
        wait: timedelta | None = None,
        protocol: str = "HTTP",
        correlation_id: str | None = None,
    ) -> Outcome:
        """Preloads a pool, or several (``every pool``), and notes the answer without judging it.

        With ``wait`` the daemon is asked to answer when the pool is Ready, or the load has failed.

        Example:
        | Preload Pool | chat | wait=5 s | protocol=gRPC |
        | Answer Should Be | 200 |
        """
        self.scenario.act(f"preload of {name}")
        return self._each("preload", name, wait=wait, protocol=protocol, correlation_id=correlation_id)

    @keyword
    def drain_pool(
        self,
        name: str = "the pool",
        deadline: timedelta | None = None,
        wait: timedelta | None = None,
        protocol: str = "HTTP",
    ) -> Outcome:
        """Drains a pool, or several, and notes the answer without judging it.

        Example:
        | Drain Pool | chat | deadline=500 ms | wait=2 s |
        | Answer Field | outcome | == | forced |
        """
        self.scenario.act(f"drain of {name}")
        deadline_ms = None if deadline is None else round(seconds(deadline) * 1000)
        return self._each("drain", name, wait=wait, protocol=protocol, deadline_ms=deadline_ms)

    @keyword
    def stop_pool(self, name: str = "the pool", wait: timedelta = LOAD_LIMIT, protocol: str = "HTTP") -> Outcome:
        """Drains a pool with deadline 0 and waits for the end of it.

        Example:
        | Stop Pool | chat |
        """
        self.scenario.act(f"stop of {name}")
        return self._each("drain", name, wait=wait, protocol=protocol, deadline_ms=0)

    @keyword
    def cancel_drain(self, name: str = "the pool", protocol: str = "HTTP") -> Outcome:
        """Cancels a drain that still waits.

        Example:
        | Cancel Drain | chat |
        """
        self.scenario.act(f"cancelling the drain of {name}")
        return self._each("cancel_drain", name, protocol=protocol)

    @keyword
    def reload_pool(
        self,
        model: str,
        name: str = "the pool",
        drain_deadline: timedelta | None = None,
        wait: timedelta | None = None,
        protocol: str = "HTTP",
    ) -> Outcome:
        """Reloads a pool to another model (see `Create Model File`) and notes the answer without judging it.

        Example:
        | Create Model File | other.gguf |
        | Reload Pool | other.gguf | chat | wait=5 s |
        """
        self.scenario.act(f"reload of {name} to {model}")
        deadline_ms = None if drain_deadline is None else round(seconds(drain_deadline) * 1000)
        return self._each(
            "reload", name, wait=wait, protocol=protocol, new_model_ref=model, drain_deadline_ms=deadline_ms
        )

    @keyword
    def reset_circuit(self, name: str = "the pool", protocol: str = "HTTP") -> Outcome:
        """Closes the circuit breakers of a pool.

        Example:
        | Reset Circuit | chat |
        """
        self.scenario.act(f"circuit reset of {name}")
        return self._each("reset_circuit", name, protocol=protocol)

    def _each(self, operation: str, name: str, *, wait: timedelta | None = None, protocol: str, **more: Any) -> Outcome:
        way = protocol_of(protocol)
        limit = None if wait is None else seconds(wait)
        ids = self.pool_ids(name)
        if len(ids) > 1:
            return self._side_by_side(operation, ids, wait=limit, protocol=protocol, **more)
        return self.operate(operation, protocol=way, pool_id=ids[0], wait=limit, **more)

    def _side_by_side(self, operation: str, ids: list[str], *, protocol: str, **more: Any) -> Outcome:
        daemon, way = self.daemon, protocol_of(protocol)
        with ThreadPoolExecutor(max_workers=min(32, len(ids))) as executor:
            outcomes = list(
                executor.map(lambda pool_id: call(daemon, operation, protocol=way, pool_id=pool_id, **more), ids)
            )
        for outcome in outcomes:
            self.scenario.answered(outcome)
        return next((outcome for outcome in outcomes if not outcome.ok), outcomes[-1])
