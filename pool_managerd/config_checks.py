"""What must hold between the keys of a config. Nothing here looks at devices or starts anything.

Every check says which keys it looked at; the first is the one that is blamed. A check that looked at a key which is
already known to be wrong is left out, so that no fault is reported twice.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pool_managerd.config import EVEN_SPLIT_ONLY, PoolConfig, ServerConfig, lies_in, outside_model_dirs
from pool_managerd.config_problems import nearest, show
from pool_managerd.config_values import format_size
from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices.mask import MaskUse, overlapping
from pool_managerd.devices.split import normalise_split
from pool_managerd.engines import ENGINE_KINDS

MAX_REQUEST_BYTES = 1 << 30
LLAMACPP_KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
OTHER_KV_TYPES = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "int8")
PLACEHOLDERS = ("{host}", "{port}", "{model}", "{devices}")

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault between keys (dotted, relative to their table); the first of ``keys`` is the one to blame."""

    keys: tuple[str, ...]
    message: str
    hint: str
    code: Code = Code.INVALID_REQUEST
    value: Any = None


def check_server(server: ServerConfig) -> Iterator[Finding]:
    """Faults within ``[server]``, tokens apart."""
    for key in ("tls_cert", "tls_key", "tls_client_ca"):
        if value := getattr(server, key):
            yield Finding(
                (key,),
                f"TLS is not available in this version, and {key} is {show(value)}",
                "remove it, and listen on a loopback address behind a proxy that speaks TLS",
                value=value,
            )
    low, high = server.port_range
    if not 1 <= low <= high:
        yield Finding(
            ("port_range",),
            f"is not a range of ports: [{low}, {high}]",
            "write the lowest and the highest port, for instance [20000, 29999]",
            value=[low, high],
        )
    if server.http == server.grpc and server.http.port:
        yield Finding(
            ("grpc", "http"),
            f"HTTP and gRPC cannot both listen on {server.http}",
            "give them different ports",
            value=str(server.grpc),
        )
    if not 1024 <= server.max_request_bytes <= MAX_REQUEST_BYTES:
        yield Finding(
            ("max_request_bytes",),
            f"must be from 1KiB to 1GiB, and is {format_size(server.max_request_bytes)}",
            "the default is 1MiB",
            value=server.max_request_bytes,
        )


def check_bind(server: ServerConfig, *, has_token: bool) -> Iterator[Finding]:
    """A daemon that others can reach needs a token."""
    for key in ("http", "grpc"):
        address = getattr(server, key)
        if not has_token and not address.is_loopback:
            yield Finding(
                (key,),
                f"{address} can be reached from other hosts, and no API token is set",
                "set LLORCH_API_TOKEN or server.token_file, or listen on 127.0.0.1",
                value=str(address),
            )


def check_pool(pool: PoolConfig) -> Iterator[Finding]:
    """Faults within one ``[[pool]]``."""
    for check in (_engine, _command, _model, _texts, _replicas, _devices, _times, _simulated):
        yield from check(pool)


def check_between(
    pools: Sequence[PoolConfig], server: ServerConfig, line_of: Callable[[int], int | None]
) -> Iterator[tuple[int, Finding]]:
    """Faults between pools, each with the index of the one that is blamed. ``line_of`` knows a pool's line."""
    first: dict[str, int] = {}
    for index, pool in enumerate(pools):
        if (before := first.setdefault(pool.id, index)) != index:
            message = f"pool id {show(pool.id)} is taken twice, on lines {line_of(before)} and {line_of(index)}"
            yield index, Finding(("id",), message, "give each pool an id of its own", value=pool.id)
    for owner, index in first.items():
        for replica in pools[index].replica_ids:
            other = first.get(name := f"{owner}-{replica}")
            if other is not None:
                message = (
                    f"pool {show(name)} and replica {replica} of pool {show(owner)} would write the same files, "
                    f"such as {name}.pid"
                )
                yield other, Finding(("id",), message, f"rename pool {show(name)}", value=name)
    for one, two, devices in _overlaps(pools):
        unwilling = " and ".join(show(pool.id) for pool in (pools[one], pools[two]) if not pool.share_devices)
        yield (
            two,
            Finding(
                ("devices", "replicas"),
                f"pools {show(pools[one].id)} (line {line_of(one)}) and {show(pools[two].id)} (line {line_of(two)}) "
                f"both use {'device' if len(devices) == 1 else 'devices'} {', '.join(sorted(devices))}",
                f"give them different devices, or set share_devices = true in {unwilling}",
                Code.INVALID_DEVICE_MASK,
                show(pools[two].devices),
            ),
        )
    for index, pool in enumerate(pools):
        if server.model_dirs and pool.model is not None and not lies_in(pool.model, server.model_dirs):
            error = outside_model_dirs("model", str(pool.model_ref), server.model_dirs)
            yield (
                index,
                Finding(("model", "server.model_dirs"), error.message, str(error.hint), value=pool.model_ref),
            )


def check_ports(pools: Sequence[PoolConfig], server: ServerConfig) -> Iterator[Finding]:
    """Too few ports for all engines, a fault of ``[server]``."""
    low, high = server.port_range
    needed = sum(pool.replicas for pool in pools if pool.port == 0)
    if 1 <= low <= high and high - low + 1 < needed:
        yield Finding(
            ("port_range",),
            f"has {high - low + 1} ports, and the pools need {needed}",
            "widen the range",
            value=[low, high],
        )


def _engine(pool: PoolConfig) -> Iterator[Finding]:
    if pool.engine not in ENGINE_KINDS:
        near = nearest(pool.engine, ENGINE_KINDS)
        yield Finding(
            ("engine",),
            f"engine kind {show(pool.engine)} is not known; the kinds are {', '.join(ENGINE_KINDS)}",
            f'write engine = "{near}"' if near else "write one of them",
            Code.ENGINE_NOT_FOUND,
            pool.engine,
        )
        return
    kinds = LLAMACPP_KV_TYPES if pool.engine == "llamacpp" else LLAMACPP_KV_TYPES + OTHER_KV_TYPES
    if pool.kv_type not in kinds:
        near = nearest(pool.kv_type, kinds)
        yield Finding(
            ("kv_type", "engine"),
            f"{show(pool.kv_type)} is no type of a KV cache; there are {', '.join(kinds)}",
            f'write kv_type = "{near}"' if near else "write one of them; the default is f16",
            value=pool.kv_type,
        )


def _command(pool: PoolConfig) -> Iterator[Finding]:
    if pool.engine != "command":
        if pool.command:
            yield Finding(
                ("command", "engine"),
                f'is for engine = "command", and this pool\'s engine is {show(pool.engine)}',
                "use binary and args, or change the engine",
                value=show(pool.command),
            )
        return
    example = 'for instance command = ["/usr/bin/my-engine", "--port", "{port}"]'
    if not pool.command or not pool.command[0]:
        yield Finding(
            ("command", "engine"),
            'is required for engine = "command"',
            f"name the program and its arguments, {example}",
        )
        return
    for key in ("binary", "args"):
        if getattr(pool, key):
            yield Finding(
                (key, "engine"),
                'cannot be set with engine = "command"',
                "put the program and its arguments into command",
            )
    used = re.findall(r"\{[a-z_]*\}", " ".join(pool.command))
    for name in dict.fromkeys(used):
        if name not in PLACEHOLDERS:
            yield Finding(
                ("command",),
                f"{name} is not known in a command; there are {', '.join(PLACEHOLDERS)}",
                f"write {nearest(name, PLACEHOLDERS) or PLACEHOLDERS[0]}",
                value=show(pool.command),
            )
    if "{port}" not in used and pool.port == 0:
        yield Finding(
            ("command", "port"),
            "has no {port}, and port is 0: the program could not know where to listen",
            f"add the option that takes the port, {example}, or set port",
            value=show(pool.command),
        )
    if "{model}" in used and pool.model is None:
        yield Finding(("command", "model"), "uses {model}, and no model is set", "set model", value=show(pool.command))


def _model(pool: PoolConfig) -> Iterator[Finding]:
    if pool.model_ref is None and pool.engine in ENGINE_KINDS and pool.engine != "command":
        yield Finding(
            ("model", "engine"), f"is required for engine = {show(pool.engine)}", "name the model's file or folder"
        )


def _texts(pool: PoolConfig) -> Iterator[Finding]:
    for name in pool.env:
        if _ENV_NAME.fullmatch(name) is None:
            yield Finding(
                ("env",), f"{show(name)} is no name of an environment variable", "use letters, digits and underscores"
            )


def _replicas(pool: PoolConfig) -> Iterator[Finding]:
    if not 1 <= pool.min_ready <= pool.replicas:
        yield Finding(
            ("min_ready", "replicas"),
            f"pool {show(pool.id)} has min_ready = {pool.min_ready} and replicas = {pool.replicas}",
            f"set min_ready from 1 to {pool.replicas}",
            value=pool.min_ready,
        )
    if pool.port and pool.replicas > 1:
        yield Finding(
            ("port", "replicas"),
            f"all {pool.replicas} replicas would listen on port {pool.port}",
            "set port = 0, so that each gets one of server.port_range",
            value=pool.port,
        )


def _devices(pool: PoolConfig) -> Iterator[Finding]:
    try:
        masks = pool.masks
    except PoolManagerError as error:
        yield _of_error(("devices", "replicas"), error, pool, value=show(pool.devices))
        return
    even_only = pool.engine if pool.engine in EVEN_SPLIT_ONLY else None
    for size in dict.fromkeys(max(1, len(mask)) for mask in masks):
        try:
            normalise_split(pool.tensor_split, size, even_only=even_only)
        except PoolManagerError as error:
            keys = ("tensor_split", "devices", "replicas", "engine")
            yield _of_error(keys, error, pool, value=show(pool.tensor_split))


def _of_error(keys: tuple[str, ...], error: PoolManagerError, pool: PoolConfig, *, value: object) -> Finding:
    return Finding(keys, f"pool {show(pool.id)}: {error.message}", error.hint or "", error.code, value)


#: Pairs where the first must not be above the second.
_ORDERED = (
    ("readiness.first_ms", "readiness.max_interval_ms"),
    ("drain.deadline_ms", "drain.max_deadline_ms"),
    ("lease.ttl_ms", "lease.max_ttl_ms"),
    ("restart.initial_ms", "restart.max_ms"),
    ("restart.floor_ms", "restart.max_ms"),
    ("breaker.open_ms", "breaker.max_open_ms"),
)


def _times(pool: PoolConfig) -> Iterator[Finding]:
    for low, high in _ORDERED:
        table, low_key = low.split(".")
        high_key = high.split(".")[1]
        section = getattr(pool, table)
        least, most = getattr(section, low_key), getattr(section, high_key)
        if least > most:
            yield Finding(
                (low, high),
                f"{low_key} = {least} is above {high_key} = {most}",
                f"lower {low_key}, or raise {high_key}",
                value=least,
            )


def _simulated(pool: PoolConfig) -> Iterator[Finding]:
    if not pool.simulated:
        return
    if pool.engine != "simulated":
        yield Finding(
            ("simulated", "engine"),
            f'is for engine = "simulated", and this pool\'s engine is {show(pool.engine)}',
            "remove the table, or change the engine",
        )
        return
    from pool_managerd.engines.simulated import options  # noqa: PLC0415  # for pools of this engine only

    for name, value in pool.simulated.items():
        key = f"simulated.{name}"
        if name not in options.BY_NAME:
            near = nearest(name, options.BY_NAME)
            yield Finding(
                (key,),
                "the stand-in engine has no such setting" + (f"; the nearest is {near}" if near else ""),
                f"write {near}" if near else f"write one of {', '.join(options.BY_NAME)}",
                value=value,
            )
            continue
        option = options.BY_NAME[name]
        try:
            options.convert(option, value)
        except ValueError as error:
            yield Finding((key,), str(error), f"{option.help} ({option.type})", value=value)


def _overlaps(pools: Sequence[PoolConfig]) -> Iterator[tuple[int, int, frozenset[str]]]:
    """Pools whose masks, as written, name the same device. What the masks resolve to is compared elsewhere."""
    uses: list[MaskUse] = []
    for index, pool in enumerate(pools):
        try:
            masks = pool.masks
        except PoolManagerError:
            continue
        uses.append(MaskUse(str(index), pool.share_devices, frozenset(name for mask in masks for name in mask)))
    for one, other, devices in overlapping(uses):
        yield int(one.pool_id), int(other.pool_id), devices
