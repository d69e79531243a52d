"""The config file, read again while the daemon runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pool_managerd.config import Config
from pool_managerd.config_problems import ConfigError
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.core.events import EventKind
from pool_managerd.core.status import ConfigChanges
from pool_managerd.runtime.host import Host
from pool_managerd.runtime.registry import Registry
from pool_managerd.runtime.registry_config import check_masks
from pool_managerd.service_checks import check_running


class ServiceConfig:
    """The use case of a new config.

    :param load: reads the config file anew; raises ``ConfigError`` with all that is wrong.
    """

    def __init__(self, host: Host, registry: Registry, load: Callable[[], Config]) -> None:
        self.host = host
        self.registry = registry
        self._load_config = load
        self._lock = asyncio.Lock()

    async def reload(self, *, dry_run: bool = False) -> ConfigChanges:
        """Read the config file again, and put it in force unless this is a dry run. All of it or nothing."""
        if not dry_run:
            check_running(self.host)
        async with self._lock:
            try:
                new = await asyncio.to_thread(self._load_config)
                check_masks(new, await self.host.inventory.refresh())
                found, changes = self.registry.changes(new, dry_run=dry_run)
            except ConfigError as error:
                problems = [str(problem) for problem in error.problems]
                self._publish_refused(problems, dry_run=dry_run)
                first = error.problems[0]
                raise PoolManagerError(
                    Code(first.code) if first.code else Code.INVALID_REQUEST,
                    f"the config has {len(problems)} fault(s), nothing was changed: " + "; ".join(problems),
                    hint=first.hint
                    or "correct the file; `pool-managerd check-config` shows all faults with their lines",
                    details={"field": first.key, "problems": problems},
                ) from error
            except PoolManagerError as error:
                self._publish_refused([error.message], dry_run=dry_run, code=error.code)
                raise
            if dry_run:
                return changes
            # The event first: what the new config starts and stops comes after it.
            touched = bool(changes.added or changes.changed or changes.removed or changes.restart_required)
            self.host.bus.publish(
                EventKind.CONFIG,
                to="reloaded" if touched else "unchanged",
                reason=f"{len(changes.added)} added, {len(changes.changed)} changed, {len(changes.removed)} removed, "
                f"{len(changes.unchanged)} unchanged",
                details={
                    "added": changes.added,
                    "changed": {change.pool_id: change.keys for change in changes.changed},
                    "removed": changes.removed,
                    "unchanged": changes.unchanged,
                    "restart_required": changes.restart_required,
                },
            )
            self.registry.apply(new, found)
            return changes

    def _publish_refused(self, problems: list[str], *, dry_run: bool, code: Code = Code.INVALID_REQUEST) -> None:
        if dry_run:
            return
        self.host.bus.publish(
            EventKind.CONFIG,
            to="refused",
            code=str(code),
            reason=f"the config was refused, nothing was changed: {'; '.join(problems)}",
            details={"problems": problems},
        )
