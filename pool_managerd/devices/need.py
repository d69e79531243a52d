"""How much memory an engine will need, read from its model file; never guessed, never from the file's size alone.

llama.cpp at full offload keeps in GPU memory: all weights but the input embedding (which stays in host memory,
unless it is the output layer, too: then llama.cpp loads it a second time onto the GPU), the KV cache, and compute
buffers. A CUDA context is not counted here: that is what ``devices.overhead_bytes`` is for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pool_managerd.core.errors import Code, PoolManagerError
from pool_managerd.devices import gguf, safetensors

MIB = 1 << 20

#: (elements, bytes) of one block of the KV cache, by llama.cpp's name of its type (ggml's type traits).
KV_TYPES: Mapping[str, tuple[int, int]] = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q8_0": (32, 34),
    "q5_1": (32, 24),
    "q5_0": (32, 22),
    "q4_1": (32, 20),
    "q4_0": (32, 18),
    "iq4_nl": (32, 18),
}
_KV_PADDING = 256  # llama.cpp rounds each sequence's context up to this many cells (llama-context.cpp)
_BATCH = 512  # llama.cpp's default physical batch (-ub)
#: What the stand-in engine holds where neither its settings nor a model file say it.
SIMULATED_VRAM_BYTES = 256 * MIB
#: Host memory of an engine beside its model. llama.cpp: 33-39 MiB were measured, see docs.
_PROCESS_RAM: Mapping[str, int] = {"llamacpp": 64 * MIB, "simulated": 32 * MIB, "vllm": 1024 * MIB, "tgi": 1024 * MIB}


class PoolLike(Protocol):
    """What is read of a pool's config."""

    @property
    def engine(self) -> str: ...  # noqa: D102 - the config's own names
    @property
    def context(self) -> int: ...  # noqa: D102
    @property
    def slots(self) -> int: ...  # noqa: D102
    @property
    def kv_type(self) -> str: ...  # noqa: D102
    @property
    def vram_bytes(self) -> int | None: ...  # noqa: D102
    @property
    def ram_bytes(self) -> int | None: ...  # noqa: D102
    @property
    def simulated(self) -> Mapping[str, Any]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """One GPU's part of a replica's need, in bytes.

    :param ratio: its part of weights and KV cache.
    :param fixed: what does not depend on the ratio: compute buffers.
    :param evidence: what must at least be seen on the GPU after loading, before any tolerance.
    :param granularity: how much of the evidence may have gone to a neighbour instead (whole layers are split).
    :param measured: the most that an engine like this was seen to hold here before.
    """

    uuid: str
    ratio: float
    weights: int
    kv: int
    fixed: int
    evidence: int
    granularity: int = 0
    measured: int = 0

    @property
    def estimated(self) -> int:
        """What the model's own figures come to."""
        return self.weights + self.kv + self.fixed

    @property
    def total(self) -> int:
        """All of it, or what was measured, if that is more."""
        return max(self.estimated, self.measured)


@dataclass(frozen=True)
class Need:
    """What one replica needs, in bytes.

    :param shares: per GPU in mask order; empty where the need is not known (only a positive use is asked for then).
    :param ram: host memory.
    :param basis: where the figures come from: configured, gguf, safetensors, simulated, measured or unknown.
    """

    shares: tuple[DeviceShare, ...]
    ram: int
    basis: str

    @cached_property
    def per_device(self) -> Mapping[str, int]:
        """Bytes by GPU UUID."""
        return {share.uuid: share.total for share in self.shares}

    @property
    def total(self) -> int | None:
        """GPU memory over all devices; ``None`` where it is not known."""
        return sum(share.total for share in self.shares) if self.shares else None

    def least(self, uuid: str, tolerance: float) -> int:
        """What must be seen on this GPU after loading for the engine to count as resident there."""
        for share in self.shares:
            if share.uuid == uuid:
                return max(1, math.floor(share.evidence * (1 - tolerance)) - share.granularity)
        return 1


@dataclass(frozen=True, slots=True)
class ModelNeed:
    """What a model needs before it is divided over GPUs, in bytes.

    :param host: what of it stays in host memory.
    :param piece: the largest piece that is never divided: a layer, or the output layer.
    """

    weights: int
    kv: int
    compute: int
    host: int
    piece: int
    basis: str


def need_of(pool: PoolLike, model: Path | None, devices: Sequence[str], split: Sequence[float]) -> Need:
    """What one replica of ``pool`` needs.

    A configured ``vram_bytes`` or ``ram_bytes`` replaces the figure read from the model.

    :param model: the model file or folder (the pool's, or the one of a reload).
    :param devices: UUIDs in mask order.
    :param split: ratios in the same order, with a sum of 1.0 (see :func:`pool_managerd.devices.split.normalise_split`).
    :raises PoolManagerError: MODEL_NOT_FOUND naming the path and what is wrong with it.
    """
    found = _model_need(pool, model)
    ram = (
        pool.ram_bytes
        if pool.ram_bytes is not None
        else _PROCESS_RAM.get(pool.engine, 0) + (found.host if found else 0)
    )
    if pool.vram_bytes is not None:
        evidence = pool.vram_bytes if found is None else min(found.weights, pool.vram_bytes)
        found = ModelNeed(pool.vram_bytes, 0, 0, 0, found.piece if found else 0, "configured")
    elif found is None:
        return Need((), ram, "unknown")
    else:
        evidence = found.weights
    shares = tuple(
        DeviceShare(
            uuid=uuid,
            ratio=ratio,
            weights=math.ceil(found.weights * ratio),
            kv=math.ceil(found.kv * ratio),
            fixed=found.compute,
            evidence=math.floor(evidence * ratio),
            granularity=found.piece if len(devices) > 1 else 0,
        )
        for uuid, ratio in zip(devices, split, strict=True)
    )
    return Need(shares, ram, found.basis)


def llamacpp_need(model: Path, *, context: int, slots: int, kv_type: str) -> ModelNeed:
    """What llama.cpp needs for a GGUF model at full offload.

    :param context: tokens per slot.
    :raises gguf.GgufError: if the file is truncated or no GGUF model.
    :raises OSError: if it is missing or cannot be read.
    """
    headers = gguf.read_model(model)
    tensors = {tensor.name: tensor.size for header in headers for tensor in header.tensors}
    embedding = tensors.get("token_embd.weight", 0)
    output = tensors.get("output.weight")
    header = headers[0]
    layers = _number(header, "block_count")
    blocks = sum(size for name, size in tensors.items() if name.startswith("blk."))
    cells = math.ceil(context / _KV_PADDING) * _KV_PADDING * slots
    return ModelNeed(
        weights=sum(tensors.values()) - (embedding if output is not None else 0),
        kv=_kv_bytes(header, layers, cells, kv_type),
        compute=_compute_bytes(header, tensors, cells // slots, slots),
        host=embedding,
        piece=max(embedding if output is None else output, blocks // max(1, layers)),
        basis="gguf",
    )


def _kv_bytes(header: gguf.GgufHeader, layers: int, cells: int, kv_type: str) -> int:
    heads = header.get("attention.head_count", 0)
    head_count = max(heads) if isinstance(heads, tuple) else int(heads)
    per_layer = header.get("attention.head_count_kv", heads)
    kv_heads = sum(per_layer) if isinstance(per_layer, tuple) else int(per_layer) * layers
    head = _number(header, "embedding_length") // head_count if head_count else 0
    lengths = int(header.get("attention.key_length", head)) + int(header.get("attention.value_length", head))
    block, size = KV_TYPES.get(kv_type, KV_TYPES["f16"])
    return math.ceil(kv_heads * cells * lengths / block) * size


def _compute_bytes(header: gguf.GgufHeader, tensors: Mapping[str, int], cells: int, slots: int) -> int:
    """llama.cpp's compute buffer on each GPU, roughly: activations, attention mask and logits of one batch.

    :param cells: of one slot: a batch looks at one slot's part of the KV cache at a time.

    By llama.cpp's own log (build 11549, the 135M model of the tests) it takes 15.1, 16.6 and 22.6 MiB at 512, 2048 and
    8192 tokens per slot, whatever the number of slots; this says 14.7, 17.9 and 30.1.
    """
    embedding, forward = _number(header, "embedding_length"), header.get("feed_forward_length", 0)
    widest = max(forward) if isinstance(forward, tuple) else int(forward)
    activations = _BATCH * 4 * (4 * embedding + 3 * widest)
    vocabulary = int(header.get("vocab_size", 0)) or (32768 if "token_embd.weight" in tensors else 0)
    return activations + _BATCH * cells * 4 + slots * vocabulary * 4


def _number(header: gguf.GgufHeader, key: str) -> int:
    value = header.get(key, 0)
    return int(value) if isinstance(value, (int, float)) else 0


def _model_need(pool: PoolLike, model: Path | None) -> ModelNeed | None:
    """The need that the model itself says; ``None`` where nothing says it."""
    if pool.engine == "simulated":
        return _simulated_need(pool, model)
    if model is None:
        return None
    try:
        if pool.engine == "llamacpp":
            return llamacpp_need(model, context=pool.context, slots=pool.slots, kv_type=pool.kv_type)
        if safetensors.is_safetensors(model):
            return ModelNeed(safetensors.model_bytes(model), _transformer_kv(pool, model), 0, 0, 0, "safetensors")
    except (gguf.GgufError, safetensors.SafetensorsError) as error:
        raise _unusable(model, str(error)) from error
    except OSError as error:
        raise _unusable(model, error.strerror or str(error)) from error
    return None


def _simulated_need(pool: PoolLike, model: Path | None) -> ModelNeed:
    """What the stand-in engine will hold: its setting, else the model file's size, else a default."""
    said = pool.simulated.get("vram_bytes")
    if said is not None:
        return ModelNeed(_size(said), 0, 0, 0, 0, "simulated")
    try:
        size = model.stat().st_size if model is not None and model.is_file() else SIMULATED_VRAM_BYTES
    except OSError:
        size = SIMULATED_VRAM_BYTES
    return ModelNeed(size, 0, 0, 0, 0, "simulated")


def _size(value: Any) -> int:
    if isinstance(value, str):
        from pool_managerd.engines.simulated.options import parse_size  # noqa: PLC0415 - for simulated pools only

        return parse_size(value)
    return int(value)


def _transformer_kv(pool: PoolLike, model: Path) -> int:
    """KV cache bytes from the model's own config.json, where it has one; else 0: then only weights are counted."""
    folder = model if model.is_dir() else model.parent
    try:
        config = json.loads((folder / "config.json").read_bytes())
        config = config.get("text_config", config)
        heads = int(config["num_attention_heads"])
        kv_heads = int(config.get("num_key_value_heads") or heads)
        head = int(config.get("head_dim") or config["hidden_size"] // heads)
        cells = pool.context * pool.slots
        return int(config["num_hidden_layers"]) * kv_heads * head * 2 * 2 * cells
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0


def _unusable(model: Path, why: str) -> PoolManagerError:
    return PoolManagerError(
        Code.MODEL_NOT_FOUND,
        f"model {model}: {why}",
        hint="check the path, the file's permissions and whether its download was complete",
        details={"model": str(model), "reason": why},
    )
