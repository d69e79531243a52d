"""Whether a Ready engine still generates: by what its callers get or, when it is quiet, by a one-token request."""

from __future__ import annotations

from collections.abc import Callable

from pool_managerd.config import PoolConfig
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.core.times import rfc3339
from pool_managerd.engines.base import CanaryRequest, SlotsReport
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.loading import ask
from pool_managerd.runtime.probe import ProbeFailed, http_request
from pool_managerd.runtime.run import Run


class Canary:
    """Looks once after each good health check; what it finds has to be judged. See :meth:`look`.

    :param leases: how many leases the replica has; ``None`` while it takes no new work.
    """

    def __init__(self, host: Host, run: Run, leases: Callable[[], int | None]) -> None:
        self.host = host
        self.run = run
        self._leases = leases
        self._progress: float | None = None
        self._lived_at = host.clock()
        self._failed: list[str] = []
        self._told = False

    async def look(self, pool: PoolConfig) -> str | None:
        """Look whether the engine generates; what is wrong, or ``None``.

        Tokens that callers get, and steps of the engine towards them, are proof enough: nothing is sent before there
        has been neither for ``canary_after_ms``. Then one token is asked for, within ``probe_timeout_ms``, but only
        into a slot that nobody needs: it never takes the last one from callers. An engine whose slots are all at
        work without any progress is judged by that.
        """
        timeout_s = pool.liveness.probe_timeout_ms / 1000
        if await self._has_progressed(timeout_s):
            self._lived()
            return None
        quiet_ms = round((self.host.clock() - self._lived_at) * 1000)
        leases = self._leases()
        if quiet_ms < pool.liveness.canary_after_ms or leases is None:
            return None
        report = await self._slots(timeout_s)
        total = self.run.slots if report.total is None else report.total
        busy = report.busy or 0
        if total - max(busy, leases) >= min(2, total):
            return await self._ask(timeout_s)
        if busy and self._progress is not None:
            return f"{busy} of its {total} slots are at work, and it has not advanced for {quiet_ms} ms"
        return None  # its callers hold the slots, and nothing says how they fare

    def judge(self, pool: PoolConfig, problem: str) -> None:
        """Count what a look has found; what is found in one look only may be a moment's.

        :raises PoolManagerError: HEALTH_CHECK_FAILED, once ``liveness.failures`` looks in a row found something.
        """
        self._failed.append(rfc3339(self.host.clock()))
        if len(self._failed) < pool.liveness.failures:
            return
        raise PoolManagerError(
            Code.HEALTH_CHECK_FAILED,
            f"pool {pool.id} replica {self.run.spec.replica_id} is healthy but does not generate: {problem}",
            hint="the engine answers its health check, but gives no token; look at its log",
            details={"canary": True, "failed_probes": self._failed[-10:], "last_answer": problem},
        )

    async def _has_progressed(self, timeout_s: float) -> bool:
        """Whether the engine's own counter of its work has risen since the last look."""
        engine = self.run.engine
        body = await ask(self.run, engine.progress_path, timeout_s)
        progress = None if body is None else engine.parse_progress(body)
        if progress is None:
            return False
        before, self._progress = self._progress, progress
        return before is not None and progress != before

    async def _slots(self, timeout_s: float) -> SlotsReport:
        body = await ask(self.run, self.run.engine.slots_path, timeout_s)
        report = None if body is None else self.run.engine.parse_slots(body)
        return report or SlotsReport(None, None)

    async def _ask(self, timeout_s: float) -> str | None:
        """Ask for a token: ``None`` if it came, or if the engine does not take such a request."""
        spec = self.run.spec
        request = self.run.engine.canary_for(spec)
        if request is None:
            return None
        try:
            answer = await http_request(
                spec.host, spec.port, request.method, request.path, body=request.body, timeout_s=timeout_s
            )
        except ProbeFailed as failed:
            return failed.reason
        if answer.status == 429:  # no room after all: it works for others
            return None
        if 400 <= answer.status < 500:
            self._tell_unsuitable(request, answer.status)
        elif not request.is_success(answer.status, answer.body):
            return f"HTTP {answer.status} without a token"
        self._lived()
        return None

    def _lived(self) -> None:
        self._lived_at = self.host.clock()
        self._failed = []

    def _tell_unsuitable(self, request: CanaryRequest, status: int) -> None:
        """Say once that this engine cannot be asked in this way."""
        if self._told:
            return
        self._told = True
        spec = self.run.spec
        self.host.bus.publish(
            EventKind.DAEMON,
            pool_id=spec.pool_id,
            replica_id=spec.replica_id,
            to="warning",
            reason=f"pool {spec.pool_id} replica {spec.replica_id}: {request.method} {request.path} is answered with "
            f"HTTP {status}: the canary says nothing about this engine",
            details={"hint": "unset liveness.canary for this pool", "path": request.path, "status": status},
        )
