"""One small module per engine kind: command line, environment, readiness, slots, version.

Nothing is imported before it is asked for, so that the stand-in program, which lies in this package, starts quickly.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # from typing it would cost a tenth of the stand-in's start
    from pool_managerd.engines.base import Engine

#: Every kind that the configuration may name, in the order of the documentation.
ENGINE_KINDS: tuple[str, ...] = ("llamacpp", "vllm", "tgi", "triton", "command", "simulated")

_ADAPTERS = {
    "llamacpp": ("pool_managerd.engines.llamacpp", "LlamaCpp"),
    "vllm": ("pool_managerd.engines.vllm", "Vllm"),
    "tgi": ("pool_managerd.engines.tgi", "Tgi"),
    "triton": ("pool_managerd.engines.triton", "Triton"),
    "command": ("pool_managerd.engines.command", "Command"),
    "simulated": ("pool_managerd.engines.simulated.adapter", "Simulated"),
}
_made: dict[str, Engine] = {}


def get_engine(kind: str) -> Engine:
    """The adapter of an engine kind.

    :raises PoolManagerError: ENGINE_NOT_FOUND with the list of the kinds there are.
    """
    if kind not in _made:
        if kind not in _ADAPTERS:
            from pool_managerd.core.errors import Code, PoolManagerError  # noqa: PLC0415  # kept off the quick path

            raise PoolManagerError(
                Code.ENGINE_NOT_FOUND,
                f"engine kind {kind!r} is not known; the kinds are {', '.join(ENGINE_KINDS)}",
                hint="set the pool's engine to one of them",
                details={"engine": kind, "kinds": list(ENGINE_KINDS)},
            )
        import importlib  # noqa: PLC0415  # kept off the quick path

        module, name = _ADAPTERS[kind]
        adapter: type[Engine] = getattr(importlib.import_module(module), name)
        _made[kind] = adapter()
    return _made[kind]
