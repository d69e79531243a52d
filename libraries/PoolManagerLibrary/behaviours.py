"""What an engine can be said to do, in words, as options of the stand-in engine.

One table serves both ``a pool whose engine …`` (its start, through ``[pool.simulated]``) and ``the engine …`` (now,
through its control file), so that a behaviour has the same words everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from PoolManagerLibrary.errors import UsageError
from PoolManagerLibrary.units import milliseconds, parse_size

Found = re.Match[str]
_TIME = r"\d+(?:\.\d+)? ?(?:ms|s|seconds?|minutes?|m)"
_SIZE = r"\d+(?:\.\d+)? ?[KMGT]?i?B"


def _row(pattern: str, make: Callable[[Found], dict[str, Any]], example: str) -> tuple[re.Pattern[str], Any, str]:
    return re.compile(pattern), make, example


BEHAVIOURS = (
    _row(rf"needs ({_TIME}) to load", lambda m: {"load_ms": milliseconds(m[1])}, "needs 2 s to load"),
    _row(rf"needs ({_TIME}) to listen", lambda m: {"listen_ms": milliseconds(m[1])}, "needs 300 ms to listen"),
    _row(r"never becomes ready", lambda _: {"never_ready": True}, "never becomes ready"),
    _row(rf"answers after ({_TIME})", lambda m: {"answer_ms": milliseconds(m[1])}, "answers after 200 ms"),
    _row(r"answers (\d{3}) to health checks", lambda m: {"health_status": int(m[1])}, "answers 500 to health checks"),
    _row(r"fails (\d+) health checks?", lambda m: {"health_failures": int(m[1])}, "fails 2 health checks"),
    _row(r"hangs|accepts connections and answers nothing", lambda _: {"hang": True}, "hangs"),
    _row(r"speaks HTTP/1\.([01])", lambda m: {"http_version": f"1.{m[1]}"}, "speaks HTTP/1.0"),
    _row(r"reports version (\S+)", lambda m: {"version": m[1]}, "reports version 9.9"),
    _row(r"(?:stops generating|never generates a token)", lambda _: {"tokens_per_s": 0}, "stops generating"),
    _row(
        r"answers (\d{3}) to completions",
        lambda m: {"completion_status": int(m[1])},
        "answers 500 to completions",
    ),
    _row(
        r"generates (\d+(?:\.\d+)?) tokens per second",
        lambda m: {"tokens_per_s": float(m[1])},
        "generates 50 tokens per second",
    ),
    _row(r"shows (\d+) busy slots?", lambda m: {"busy_slots": int(m[1])}, "shows 1 busy slot"),
    _row(r"claims (\d+) slots", lambda m: {"slots_reported": int(m[1])}, "claims 2 slots"),
    _row(r"echoes its prompts", lambda _: {"echo_prompts": True}, "echoes its prompts"),
    _row(r"exits with (?:exit )?code (\d+)", lambda m: {"exit_code": int(m[1])}, "exits with code 3"),
    _row(r"dies of (SIG[A-Z0-9]+)", lambda m: {"signal": m[1]}, "dies of SIGSEGV"),
    _row(r"runs out of memory", lambda _: {"oom": True}, "runs out of memory"),
    _row(r"finds its port taken", lambda _: {"port_in_use": True}, "finds its port taken"),
    _row(
        r"reports a CUDA error",
        lambda _: {"cuda_error": "an illegal memory access was encountered"},
        "reports a CUDA error",
    ),
    _row(r'logs "(.*?)" to stderr', lambda m: {"stderr": [m[1]]}, 'logs "some line" to stderr'),
    _row(r'logs "(.*?)"(?: to stdout)?', lambda m: {"stdout": [m[1]]}, 'logs "some line"'),
    _row(rf"holds ({_SIZE}) of GPU memory", lambda m: {"vram_bytes": parse_size(m[1])}, "holds 3 GiB of GPU memory"),
    _row(r"holds no GPU memory", lambda _: {"vram_bytes": 0}, "holds no GPU memory"),
    _row(rf"holds ({_SIZE}) of host memory", lambda m: {"ram_bytes": parse_size(m[1])}, "holds 100 MiB of host memory"),
    _row(
        rf"keeps its GPU memory for ({_TIME}) after its end",
        lambda m: {"sticky_ms": milliseconds(m[1])},
        "keeps its GPU memory for 500 ms after its end",
    ),
    _row(r"offloads to the CPU", lambda _: {"cpu_offload": True}, "offloads to the CPU"),
    _row(
        r"uses (?:the )?(GPU [\w-]+|[\w-]+) outside its mask",
        lambda m: {"wrong_device": m[1]},
        "uses GPU other outside its mask",
    ),
    _row(r"ignores SIGTERM", lambda _: {"ignore_sigterm": True}, "ignores SIGTERM"),
    _row(rf"needs ({_TIME}) to stop", lambda m: {"term_ms": milliseconds(m[1])}, "needs 3 s to stop"),
    _row(r"ends with code (\d+) on SIGTERM", lambda m: {"term_exit_code": int(m[1])}, "ends with code 7 on SIGTERM"),
    _row(r"starts a child", lambda _: {"child": "group"}, "starts a child"),
    _row(r"starts an orphan", lambda _: {"child": "orphan"}, "starts an orphan"),
    _row(r"starts a child in its own session", lambda _: {"child": "session"}, "starts a child in its own session"),
    _row(r"refuses unknown arguments", lambda _: {"reject_unknown": True}, "refuses unknown arguments"),
)
_WHEN = (
    (re.compile(r" (?:while loading|at its start)$"), lambda _: {"when": "start"}),
    (re.compile(r" once (?:it is )?ready$"), lambda _: {"when": "ready"}),
    (
        re.compile(rf" ({_TIME}) after it is ready$"),
        lambda m: {"when": "ready", "exit_after_ms": milliseconds(m[1]), "log_after_ms": milliseconds(m[1])},
    ),
    (
        re.compile(rf" after ({_TIME})$"),
        lambda m: {"when": "start", "exit_after_ms": milliseconds(m[1]), "log_after_ms": milliseconds(m[1])},
    ),
)


def parse_behaviour(text: str) -> dict[str, Any]:
    """The stand-in's options for one or more behaviours joined by ``and``.

    :raises UsageError: with all known behaviours, if a part is none of them.
    """
    options: dict[str, Any] = {}
    for part in re.split(r',\s+(?=(?:[^"]*"[^"]*")*[^"]*$)|\s+and\s+(?=(?:[^"]*"[^"]*")*[^"]*$)', text.strip()):
        options |= _parse_one(part.strip())
    return options


def _parse_one(text: str) -> dict[str, Any]:
    for pattern, make, _ in BEHAVIOURS:
        match = pattern.fullmatch(text)
        if match is not None:
            return dict(make(match))
    for ending, more in _WHEN:
        match = ending.search(text)
        if match is not None:
            return _parse_one(text[: match.start()]) | more(match)
    known = "\n".join(f"  {example}" for _, _, example in BEHAVIOURS)
    raise UsageError(
        f"An engine cannot be said to do this: '{text}'. It can be one of these, also joined by 'and', and with "
        f"'while loading', 'once ready', 'after 2 s' or '2 s after it is ready' behind it:\n{known}"
    )
