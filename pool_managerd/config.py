"""What the operator's TOML file says, as frozen values: named like the file's keys, checked, paths absolute.

:func:`pool_managerd.config_load.load_config` makes a :class:`Config` from a file. Durations (``…_ms``) are
milliseconds, sizes are bytes. ``pool-managerd example-config`` shows all keys with their defaults.
"""

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from pool_managerd.config_masks import masks_of
from pool_managerd.config_values import (
    Address,
    Command,
    Count,
    Devices,
    Factor,
    Host,
    ListenAddress,
    Ms,
    PathOrNone,
    PathValue,
    PathValues,
    Port,
    PositiveMs,
    PositiveSize,
    Program,
    Share,
    SimulatedSettings,
    Size,
    SizeOrAuto,
    TextOrNone,
    Texts,
    UrlPath,
    Weights,
    resolve,
)
from pool_managerd.core.errors import PoolManagerError, invalid_request
from pool_managerd.engines import ENGINE_KINDS

#: These shard a model into equal parts, whatever the cards.
EVEN_SPLIT_ONLY = frozenset({"vllm", "tgi", "triton"})
#: What a pool may be called: it becomes part of file names, URLs and metric labels.
POOL_ID_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
#: What is shown instead of a value that may be a secret.
HIDDEN = "(hidden)"


def _key(default: Any, description: str) -> Any:
    """A key with its default as one would write it in TOML; it goes through the same checks as a written value."""
    return Field(default=default, description=description)


class Section(BaseModel):
    """A table of the config file. Unknown keys are refused and types are not bent."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, defer_build=True)


class ServerConfig(Section):
    """``[server]``: where the daemon listens and what it keeps."""

    http: ListenAddress = _key(
        "127.0.0.1:9200", "HTTP address; POOL_MANAGERD_ADDR goes before it; port 0: any free one"
    )
    grpc: ListenAddress = _key("127.0.0.1:9201", "gRPC address; POOL_MANAGERD_GRPC_ADDR goes before it")
    state_dir: PathValue = _key(".runtime", "where the daemon keeps its state; relative to this file")
    model_dirs: PathValues = _key(
        [], "where `model` and a reload's model may lie; empty: the folders of the configured models"
    )
    port_range: Annotated[tuple[Port, Port], Field(strict=False)] = _key(
        [20000, 29999], "ports for engines, both ends included"
    )
    max_parallel_loads: Count = _key(2, "engines that may load at once; the others wait for their turn")
    max_request_bytes: PositiveSize = _key(1048576, "the largest request on HTTP and gRPC")
    token_file: PathOrNone = _key("", "file with the API token, readable by its owner only; or set LLORCH_API_TOKEN")
    readonly_token_file: PathOrNone = _key("", "file with a token that may only read, for scrapers and dashboards")
    tls_cert: TextOrNone = _key("", "not available in this version")
    tls_key: TextOrNone = _key("", "not available in this version")
    tls_client_ca: TextOrNone = _key("", "not available in this version")
    on_shutdown: Literal["stop", "leave"] = _key("stop", '"stop" the engines, or "leave" them to the next daemon')
    shutdown_drain_ms: Ms = _key(10000, "how long leases may hold up a shutdown")
    event_retention: Annotated[int, Field(ge=1, le=100_000_000)] = _key(100000, "events kept for watchers that resume")


class DevicesConfig(Section):
    """``[devices]``: which GPUs there are, and how strictly they are watched."""

    source: Literal["nvml", "simulated"] = _key("nvml", '"nvml" for the real ones, or "simulated"')
    simulated_dir: PathValue = _key("devices", "folder of the simulated GPUs; a missing one is made with two GPUs")
    overhead_bytes: Size = _key("512MiB", "kept free on each device beyond what pools need")
    require_process_residency: bool = _key(
        default=False, description="refuse to start where NVML's pids can't be matched to ours"
    )
    residency_tolerance: Share = _key(0.1, "how far the memory seen may be from the planned need, as a share of it")


class LogConfig(Section):
    """``[log]``: the daemon's own log, and how the engines' logs are rotated."""

    format: Literal["json", "console"] = _key("json", '"json" or "console"')
    level: Literal["debug", "info", "warning", "error"] = _key("info", '"debug", "info", "warning" or "error"')
    engine_log_max_bytes: PositiveSize = _key("64MiB", "an engine's log is rotated at this size")
    engine_log_keep: Annotated[int, Field(ge=0, le=1000)] = _key(3, "rotated logs kept per engine")


class ReadinessConfig(Section):
    """``[pool.readiness]``: how the daemon finds out that an engine is ready."""

    timeout_ms: PositiveMs = _key(120000, "from the spawn; waiting for a turn to load does not count")
    first_ms: PositiveMs = _key(5, "the first probe comes this long after the spawn")
    max_interval_ms: PositiveMs = _key(500, "probes back off to this")
    probe_timeout_ms: PositiveMs = _key(2000, "how long one probe may take")
    path: UrlPath = _key("", 'URL path that answers 200 when ready; "": the engine kind\'s own')


class LivenessConfig(Section):
    """``[pool.liveness]``: how the daemon finds out that a Ready engine no longer works."""

    interval_ms: PositiveMs = _key(10000, "between probes of a Ready engine")
    failures: Count = _key(3, "so many in a row are a failure")
    probe_timeout_ms: PositiveMs = _key(2000, "how long one probe may take")
    canary: bool = _key(default=False, description="also ask for a token, when the engine has been quiet")
    canary_after_ms: PositiveMs = _key(60000, "quiet for so long")


class StopConfig(Section):
    """``[pool.stop]``: how an engine is ended."""

    grace_ms: Ms = _key(5000, "from SIGTERM to SIGKILL")
    vram_release_ms: Ms = _key(30000, "how long an ended engine's memory may take to be free")


class DrainConfig(Section):
    """``[pool.drain]``: how long a drain waits for work in flight."""

    deadline_ms: Ms = _key(30000, "for a drain that names no deadline")
    max_deadline_ms: Ms = _key(3600000, "the longest that a caller may ask for")


class LeaseConfig(Section):
    """``[pool.lease]``: how long a lease lives unless it is renewed."""

    ttl_ms: PositiveMs = _key(30000, "for a lease that names no time to live")
    max_ttl_ms: PositiveMs = _key(3600000, "the longest that a caller may ask for")


class RestartConfig(Section):
    """``[pool.restart]``: when a failed replica is started again."""

    initial_ms: Ms = _key(1000, "the first delay")
    factor: Factor = _key(2, "each further delay is so many times the last")
    max_ms: Ms = _key(60000, "the longest delay")
    floor_ms: Ms = _key(500, "no delay is shorter")
    jitter: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = _key(0.1, "delays vary by this share")
    driver_factor: Factor = _key(2, "after a driver error the delay is so many times longer")
    stable_ms: Ms = _key(300000, "Ready for so long: the next failure begins with the first delay again")
    rate: Count = _key(10, "more restarts than this in rate_window_ms are delayed")
    rate_window_ms: PositiveMs = _key(60000, "the sliding window of `rate` and `storm_warn`")
    storm_warn: Count = _key(5, "more restarts than this log a storm warning")
    storm_open: Count = _key(10, "so many restarts in storm_open_window_ms open the circuit")
    storm_open_window_ms: PositiveMs = _key(30000, "the window of `storm_open`")
    on_exit_zero: Literal["stop", "restart"] = _key("stop", "after an exit 0 that nobody asked for")


class BreakerConfig(Section):
    """``[pool.breaker]``: when starting stops being tried."""

    failures: Count = _key(5, "so many failures in a row open a replica's circuit")
    driver_failures: Count = _key(5, "the same for driver errors, which are counted apart")
    open_ms: PositiveMs = _key(
        300000, "how long it stays open before one trial start, or longer where `restart.rate` is used up"
    )
    max_open_ms: PositiveMs = _key(3600000, "a failed trial doubles the time up to this")
    stable_ms: Ms = _key(60000, "a trial that is stable for so long closes it")


class PoolConfig(Section):
    """``[[pool]]``: one engine with one model, in one or more replicas.

    :ivar model_ref: ``model`` as it is written; :attr:`model` is the same as an absolute path.
    :ivar vram_bytes: the configured need per replica, None for an estimate (``"auto"``); ``ram_bytes`` alike.
    :ivar devices: as written; :attr:`masks` has one mask per replica.
    """

    id: Annotated[str, Field(pattern=POOL_ID_PATTERN, description="the pool's name: a-z, 0-9 and -, at most 63")]
    engine: Annotated[str, Field(json_schema_extra={"enum": list(ENGINE_KINDS)}, description=", ".join(ENGINE_KINDS))]
    model_ref: Annotated[
        TextOrNone, Field(alias="model", description='model file or folder; required, but for engine = "command"')
    ] = Field(default="", validate_default=True)
    binary: Program = _key("", "the engine's program; \"\": the engine kind's own name on PATH")
    command: Command = _key(
        [], 'engine = "command" only: program and arguments; {host} {port} {model} {devices} are filled in'
    )
    args: Texts = _key([], "more engine arguments; what would offload to the CPU is refused")
    env: dict[str, str] = Field(default={}, description="more environment for the engine", repr=False)
    user: TextOrNone = _key("", "run the engine as this user, when the daemon is root")
    engine_version: TextOrNone = _key("", 'shown in the status; "": the engine is asked')
    host: Host = _key("127.0.0.1", "where the engine listens")
    port: Port = _key(0, "0: one of server.port_range")
    context: Annotated[int, Field(ge=1, le=100_000_000)] = _key(4096, "tokens per slot")
    slots: Annotated[int, Field(ge=1, le=4096)] = _key(4, "requests that one replica serves at once")
    kv_type: str = _key("f16", "type of the KV cache's numbers")
    replicas: Annotated[int, Field(ge=1, le=256)] = _key(1, "engine processes, each on devices of its own")
    min_ready: int = _key(1, "replicas that must be ready for the pool to be Ready")
    devices: Devices = _key(
        "", 'GPUs by index, name or UUID: "0,1" or a list; a list of masks for several replicas; "": the only GPU'
    )
    tensor_split: Weights = _key([], "one weight per device; required with more than one device per replica")
    share_devices: bool = _key(default=False, description="may other pools use the same device?")
    preload: bool = _key(default=True, description="load when the daemon starts")
    vram_bytes: SizeOrAuto = _key("auto", 'need per replica: a size, or "auto" to read it from the model file')
    ram_bytes: SizeOrAuto = _key("auto", "the same for the host's memory")
    readiness: ReadinessConfig = Field(default_factory=ReadinessConfig)
    liveness: LivenessConfig = Field(default_factory=LivenessConfig)
    stop: StopConfig = Field(default_factory=StopConfig)
    drain: DrainConfig = Field(default_factory=DrainConfig)
    lease: LeaseConfig = Field(default_factory=LeaseConfig)
    restart: RestartConfig = Field(default_factory=RestartConfig)
    breaker: BreakerConfig = Field(default_factory=BreakerConfig)
    simulated: SimulatedSettings = _key({}, "what the stand-in engine does from its start")

    _base: Path = PrivateAttr(default_factory=Path.cwd)

    def model_post_init(self, context: Any, /) -> None:
        """Keep the folder that relative paths are relative to."""
        if isinstance(context, dict) and context.get("base"):
            self._base = Path(context["base"])

    @property
    def model(self) -> Path | None:
        """The model's absolute path, or None for a pool without one."""
        return None if self.model_ref is None else resolve(self._base, self.model_ref)

    @property
    def masks(self) -> tuple[tuple[str, ...], ...]:
        """One device mask per replica, in their order; each is empty if the config names no devices.

        :raises PoolManagerError: INVALID_DEVICE_MASK, which a loaded config never does.
        """
        return masks_of(self.devices, self.replicas)

    @property
    def replica_ids(self) -> tuple[str, ...]:
        """``r0``, ``r1``, … as many as there are replicas."""
        return tuple(f"r{index}" for index in range(self.replicas))

    def values(self) -> dict[str, Any]:
        """All keys with their values in JSON's types, secrets included: for comparing, not for showing."""
        values = {key: _json(getattr(self, name)) for name, key in keys_of(PoolConfig).items()}
        values["model"] = _json(self.model)
        masks = [list(mask) for mask in self.masks]
        given = any(masks)
        values["devices"] = (masks if self.replicas > 1 else masks[0]) if given else ""
        for key in ("vram_bytes", "ram_bytes"):
            values[key] = values[key] or ("auto" if getattr(self, key) is None else 0)
        return values


@dataclasses.dataclass(frozen=True, slots=True)
class Tokens:
    """The API tokens in force. They are shown nowhere."""

    full: str | None = dataclasses.field(default=None, repr=False)
    readonly: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """One checked config. ``path`` is the file that it came from, absolute."""

    server: ServerConfig = dataclasses.field(default_factory=ServerConfig)
    devices: DevicesConfig = dataclasses.field(default_factory=DevicesConfig)
    log: LogConfig = dataclasses.field(default_factory=LogConfig)
    pools: tuple[PoolConfig, ...] = ()
    path: Path | None = None
    tokens: Tokens = dataclasses.field(default_factory=Tokens)

    def pool(self, pool_id: str) -> PoolConfig | None:
        """The pool of this id, if there is one."""
        return next((pool for pool in self.pools if pool.id == pool_id), None)

    def effective(self) -> dict[str, Any]:
        """What is in force, keyed like the file, in JSON's types. Tokens, keys and environment values are left out."""
        from pool_managerd.engines.base import redact  # noqa: PLC0415  # only who shows a config needs it

        pools = [pool.values() for pool in self.pools]
        for pool in pools:
            pool["env"] = dict.fromkeys(pool["env"], HIDDEN)
            pool["args"] = redact(pool["args"])
            pool["command"] = redact(pool["command"])
        return {
            "server": section_values(self.server),
            "devices": section_values(self.devices),
            "log": section_values(self.log),
            "pool": pools,
        }

    @property
    def allowed_model_dirs(self) -> tuple[Path, ...]:
        """Where models may lie: ``model_dirs`` or, when that is empty, the folders of the configured models."""
        if self.server.model_dirs:
            return self.server.model_dirs
        return tuple(dict.fromkeys(pool.model.parent for pool in self.pools if pool.model is not None))

    def resolve_model_ref(self, ref: str, *, field: str = "new_model_ref") -> Path:
        """The absolute path of a model that a caller names.

        A relative reference is looked for in the config file's folder, then in each of :attr:`allowed_model_dirs`.
        The path may not exist: that is for the engine to say.

        :raises PoolManagerError: INVALID_REQUEST if it is empty or leaves the allowed folders, also by a symbolic link.
        """
        if not ref or "\x00" in ref:
            raise invalid_request(field, f"{field} must be the path of a model", hint="Name a model file or folder.")
        folders = self.allowed_model_dirs
        base = self.path.parent if self.path else Path.cwd()
        candidates = [resolve(folder, ref) for folder in dict.fromkeys((base, *folders))]
        inside = [path for path in candidates if lies_in(path, folders)]
        if found := next((path for path in inside if _exists(path)), None):
            return found
        if not inside or any(_exists(path) for path in candidates):
            raise outside_model_dirs(field, ref, folders)
        return inside[0]


def outside_model_dirs(field: str, ref: str, folders: tuple[Path, ...]) -> PoolManagerError:
    """The refusal of a model that lies elsewhere than it may."""
    named = ", ".join(str(folder) for folder in folders) or "(none)"
    return invalid_request(
        field,
        f"{field} {ref!r} lies outside the folders that models may come from: {named}",
        value=ref,
        hint="Put the model into one of them, or add its folder to server.model_dirs in the config.",
    )


def lies_in(path: Path, folders: tuple[Path, ...]) -> bool:
    """Whether a path, with all symbolic links followed, is in one of the folders (at any depth)."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(os.path.realpath(folder)) for folder in folders)


def _exists(path: Path) -> bool:
    # Path.exists() raises for a name that is too long, and for a folder on the way that may not be entered.
    return os.path.exists(path)  # noqa: PTH110


def keys_of(section: type[BaseModel]) -> dict[str, str]:
    """Attribute → key in the file, in the order of definition."""
    return {name: field.alias or name for name, field in section.model_fields.items()}


def section_values(section: BaseModel) -> dict[str, Any]:
    """A section's keys and values in JSON's types."""
    return {key: _json(getattr(section, name)) for name, key in keys_of(type(section)).items()}


def _json(value: object) -> Any:
    if isinstance(value, BaseModel):
        return section_values(value)
    if isinstance(value, (Address, Path)):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_json(item) for item in value]
    return "" if value is None else value
