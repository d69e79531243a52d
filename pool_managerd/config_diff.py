"""What a new config changes, and which engines need a new process for it."""

from dataclasses import dataclass, field
from typing import Any

from pool_managerd.config import Config, PoolConfig, section_values

#: Keys of a pool that are part of what its engine is started with. A change of any other needs no new process.
SPAWN_KEYS = frozenset(
    {
        "engine",
        "model",
        "binary",
        "command",
        "args",
        "env",
        "user",
        "host",
        "port",
        "context",
        "slots",
        "kv_type",
        "devices",
        "tensor_split",
        "simulated",
    }
)


@dataclass(frozen=True, slots=True)
class ConfigDiff:
    """The difference between two configs. Pool ids are sorted; keys are dotted and in the file's usual order.

    :ivar changed: pool id → its changed keys, such as ``args`` or ``readiness.timeout_ms``.
    :ivar restart: pools with at least one running replica that needs a new process.
    :ivar restart_replicas: which replicas those are; of the replicas that are in both configs.
    :ivar daemon_keys: changed keys outside the pools, such as ``server.http``.
    """

    added: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    restart: set[str] = field(default_factory=set)
    restart_replicas: dict[str, tuple[str, ...]] = field(default_factory=dict)
    daemon_keys: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether the two configs mean the same."""
        return not (self.added or self.changed or self.removed or self.daemon_keys)


def diff(old: Config, new: Config) -> ConfigDiff:
    """Compare what two configs mean: formatting, order and ways to write the same value make no difference."""
    before = {pool.id: pool for pool in old.pools}
    after = {pool.id: pool for pool in new.pools}
    result = ConfigDiff(
        added=sorted(after.keys() - before.keys()),
        removed=sorted(before.keys() - after.keys()),
        daemon_keys=_daemon_keys(old, new),
    )
    for pool_id in sorted(before.keys() & after.keys()):
        keys = changed_keys(before[pool_id], after[pool_id])
        if not keys:
            result.unchanged.append(pool_id)
            continue
        result.changed[pool_id] = keys
        replicas = _replicas_to_restart(before[pool_id], after[pool_id], keys)
        if replicas:
            result.restart.add(pool_id)
            result.restart_replicas[pool_id] = replicas
    return result


def changed_keys(old: PoolConfig, new: PoolConfig) -> list[str]:
    """The dotted keys whose values differ; ``env`` counts as one."""
    return _differences(_flat(old.values()), _flat(new.values()))


def _replicas_to_restart(old: PoolConfig, new: PoolConfig, keys: list[str]) -> tuple[str, ...]:
    common = tuple(replica for replica in new.replica_ids if replica in old.replica_ids)
    changed = {key.split(".")[0] for key in keys} & SPAWN_KEYS
    if changed - {"devices"}:
        return common
    return tuple(
        replica for replica, before, after in zip(common, old.masks, new.masks, strict=False) if before != after
    )


def _daemon_keys(old: Config, new: Config) -> list[str]:
    keys: list[str] = []
    for name in ("server", "devices", "log"):
        before, after = section_values(getattr(old, name)), section_values(getattr(new, name))
        keys += [f"{name}.{key}" for key in _differences(before, after)]
    for key, token in (("server.token_file", "full"), ("server.readonly_token_file", "readonly")):
        # A token file with another token in it is a change too.
        if key not in keys and getattr(old.tokens, token) != getattr(new.tokens, token):
            keys.append(key)
    return keys


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and key != "env":
            flat |= {f"{key}.{inner}": item for inner, item in value.items()}
        else:
            flat[key] = value
    return flat


_ABSENT = object()


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [key for key in {**old, **new} if not _same(old.get(key, _ABSENT), new.get(key, _ABSENT))]


def _same(old: object, new: object) -> bool:
    # In Python True equals 1; in a config they are not the same.
    return old == new and isinstance(old, bool) == isinstance(new, bool)
