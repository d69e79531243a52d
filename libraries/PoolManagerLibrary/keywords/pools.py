"""The pools of a scenario: defined, changed, removed, chosen."""

from __future__ import annotations

from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary.behaviours import parse_behaviour
from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.settings import merge, nest, parse_rows
from PoolManagerLibrary.units import parse_size

#: Keys of ``[pool.simulated]`` that are often used in tables and no keys of ``[[pool]]``.
SIMULATED_SHORTHANDS = {"load_ms", "tokens_per_s", "term_ms", "sticky_ms", "version"}


class PoolKeywords(Keywords):
    """Keywords that define pools."""

    @keyword
    def define_pool(self, name: str = "pool", behaviour: str = "", **settings: Any) -> str:
        """Defines a pool of this scenario and makes it *the pool*. Returns its id in the daemon, which is unique.

        ``settings`` are keys of ``[[pool]]``; keys of its tables have a dot. Besides, ``gpu=NAME`` (or
        ``gpu=a+b``) names GPUs
        of the scenario, ``gpus=N`` asks for N new ones per replica, ``devices=none`` leaves the mask out.
        Without any of
        these the pool gets the scenario's next GPU that no pool has yet, or a new one of 8 GiB. Pools are not preloaded
        unless ``preload=True``. ``behaviour`` says in words what the stand-in engine does, see `Engine Behaviours`.

        The daemon hears of the pool with the next step that needs it, so several definitions cost one config reload.

        Example:
        | Define Pool | chat | slots=2 | readiness.timeout_ms=2 s |
        | Define Pool | slow | needs 2 s to load | gpu=big |
        """
        options = {f"simulated.{key}": value for key, value in self._options(behaviour).items()}
        for key in list(settings):
            if key in SIMULATED_SHORTHANDS:
                settings[f"simulated.{key}"] = settings.pop(key)
        if "needs" in settings:
            size = parse_size(settings.pop("needs"))
            settings = {"vram_bytes": size, "simulated.vram_bytes": size, **settings}
        return self.world.define_pool(name, options | settings).pool_id

    def _options(self, behaviour: str) -> dict[str, Any]:
        options = parse_behaviour(behaviour) if behaviour else {}
        if "wrong_device" in options:
            options["wrong_device"] = self.scenario.gpu(options["wrong_device"]).uuid
        return options

    @keyword
    def define_pools(self, *rows: str) -> list[str]:
        """Defines a pool per row of a table, whose first row names the columns: ``name`` and any settings.

        An empty cell or ``-`` leaves a setting out.

        Example (the bars within a cell are written as bars in a suite):
        | Define Pools | name/slots/behaviour | chat/2/- | code/4/needs 2 s to load |
        """
        ids = []
        for row in parse_rows(rows):
            name = row.pop("name", None) or row.pop("pool", None)
            if name is None:
                raise UsageError("The table of pools needs a column 'name'.")
            ids.append(self.define_pool(name, row.pop("behaviour", ""), **row))
        return ids

    @keyword
    def define_many_pools(self, count: int, prefix: str = "p", **settings: Any) -> list[str]:
        """Defines ``count`` equal pools named ``p1``, ``p2``, … Returns their ids.

        Example:
        | Define Many Pools | 20 | load_ms=200 ms |
        """
        return [self.define_pool(f"{prefix}{number}", **settings) for number in range(1, count + 1)]

    @keyword
    def change_pool(self, name: str = "the pool", **settings: Any) -> None:
        """Changes settings of a pool in the config file, which the daemon reads at the next config reload or start.

        ``None`` removes a key. Example:
        | Change Pool | the pool | slots=2 | liveness.interval_ms=200 ms |
        | Reload Config |
        """
        pool = self.scenario.pool(name)
        changed = {
            (f"simulated.{key}" if key in SIMULATED_SHORTHANDS else key): (
                None if value is None or value == "None" else value
            )
            for key, value in settings.items()
        }
        table = merge(pool.settings, nest(changed))
        pool.settings.clear()
        pool.settings.update(table)
        self.world.selected.pools[pool.pool_id] = pool.settings
        self.world.materialise()

    @keyword
    def remove_pool(self, name: str = "the pool") -> None:
        """Takes a pool out of the config file; the daemon learns of it at the next config reload or start.

        Example:
        | Remove Pool | chat |
        | Reload Config |
        """
        pool = self.scenario.pool(name)
        self.world.selected.pools.pop(pool.pool_id, None)
        pool.removed = True
        self.world.materialise()

    @keyword
    def use_pool(self, name: str) -> str:
        """Makes a pool of the scenario *the pool* of the following steps. Returns its id.

        Example:
        | Use Pool | chat |
        """
        self.scenario.current_pool = self.scenario.pool(name)
        return self.scenario.current_pool.pool_id

    @keyword
    def get_pool_id(self, name: str = "the pool") -> str:
        """Returns the id that the daemon knows a pool of the scenario by.

        Example:
        | ${id} = | Get Pool Id | chat |
        """
        return self.scenario.pool(name).pool_id
