"""Structured logs: one JSON object per line (or a readable console form) on stderr.

Every line has ``time`` (UTC), ``level`` and ``event``. The lines of libraries (uvicorn, grpc, asyncio) take the
same way through :mod:`logging`. Writing happens in a thread (:mod:`pool_managerd.observe.logwriter`), so that
nobody who stops reading can stop the daemon.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import lru_cache
from types import TracebackType
from typing import Any, TypedDict

from pool_managerd.core.times import rfc3339
from pool_managerd.observe.correlation import CORRELATION_ID
from pool_managerd.observe.logwriter import LogWriter


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Let an import of this package fail for now, as if it were not installed."""
    modules: dict[str, Any] = sys.modules
    found = modules.get(name)
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]
        if found is not None:
            modules[name] = found


# structlog takes Rich along where it is installed: a fifth of the daemon's start, for tracebacks that it never draws.
with _hidden("rich"):
    import structlog

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
#: What stands in a line in place of a secret.
REDACTED = "[redacted]"

_SECRET_KEY = re.compile(r"token|secret|password|passwd|authorization|api[_-]?key|credential", re.IGNORECASE)
_NO_SECRETS = frozenset({"token_file", "readonly_token_file", "tokens_per_s"})
#: What the console leaves out of a line that has a sentence.
_SAID_IN_THE_SENTENCE = frozenset(
    {"kind", "pool_id", "replica_id", "device", "reason", "from", "to", "code", "last_error"}
)
#: A secret shorter than this is not looked for inside of texts: it would blacken ordinary words.
_MIN_SECRET = 6
_STDLIB = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

EventDict = MutableMapping[str, Any]


class _Configured(TypedDict, total=False):
    """What :func:`configure_logging` has made."""

    writer: LogWriter
    redactor: _Redactor


_configured: _Configured = {}


def configure_logging(
    *, format_: str = "json", level: str = "info", fd: int = 2, secrets: Iterable[str] = ()
) -> LogWriter:
    """Send every log line of this process to ``fd``; again: change format, level or secrets.

    :param format_: ``json`` or ``console`` (``log.format``).
    :param level: the least level that is shown (``log.level``).
    :param secrets: texts that must not stand in any line, such as the API tokens.
    :raises ValueError: for an unknown format or level.
    """
    if format_ not in {"json", "console"}:
        raise ValueError(f'log.format = "{format_}": json or console')
    if level not in LEVELS:
        raise ValueError(f'log.level = "{level}": one of {", ".join(LEVELS)}')
    close_logging()
    writer, redactor = LogWriter(fd), _Redactor(secrets)
    render = _Json() if format_ == "json" else _Console(colors=os.isatty(fd))
    _configured["writer"], _configured["redactor"] = writer, redactor
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _add_time_and_correlation,
            structlog.processors.format_exc_info,
            redactor,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _LineLogger(writer, render),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_ToStructlog()]
    root.setLevel(LEVELS[level])
    # A request's access line says nothing that an event or a metric does not; grpc and asyncio chat below warning.
    for name in ("uvicorn.access", "asyncio", "grpc", "grpc._cython.cygrpc"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    return writer


def close_logging() -> None:
    """Write out what waits; later lines are written directly."""
    if writer := _configured.pop("writer", None):
        writer.close()


def get_logger(**values: Any) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry ``values``: ``get_logger(pool_id="chat").warning("what happened", key=1)``."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(**values)
    return logger


def learn_secrets(texts: Iterable[str]) -> None:
    """Let these texts, too, stand in no line from now on. Ones of less than 6 characters are not looked for."""
    if redactor := _configured.get("redactor"):
        redactor.learn(texts)


class _LineLogger:
    """The end of structlog's chain: takes a finished line."""

    def __init__(self, writer: LogWriter, render: _Json | _Console) -> None:
        self._writer = writer
        self._render = render

    def msg(self, line: str) -> None:
        if lost := self._writer.take_lost():
            told = {"time": rfc3339(time.time()), "level": "warning", "event": "log lines were lost", "lines": lost}
            self._writer.write(self._render(None, "warning", told))
        self._writer.write(line)

    debug = info = warning = error = critical = exception = fatal = log = failure = err = msg


class _ToStructlog(logging.Handler):
    """Takes the lines of :mod:`logging` into the same stream."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            extra = {key: value for key, value in vars(record).items() if key not in _STDLIB}
            level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
            structlog.get_logger().log(
                level, record.getMessage(), **{**extra, "logger": record.name, "exc_info": record.exc_info}
            )
        except Exception:  # noqa: BLE001 - a line that can't be made must not break what it tells of
            self.handleError(record)


class _Redactor:
    """Blackens the values of secret keys, and known secrets wherever they stand."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._texts: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Know these texts, too."""
        self._texts.update(text for text in secrets if len(text) >= _MIN_SECRET)
        if self._texts:
            self._known = re.compile("|".join(map(re.escape, sorted(self._texts, key=len, reverse=True))))

    def __call__(self, _logger: Any, _method: str, event_dict: EventDict) -> EventDict:
        return {key: self._clean(key, value) for key, value in event_dict.items()}

    def _clean(self, key: str, value: Any) -> Any:
        # The order is that of frequency.
        if value is None or value is True or value is False or value == "":
            return value
        if isinstance(value, dict) or (not isinstance(value, (str, int, float, list)) and isinstance(value, Mapping)):
            return {str(inner): self._clean(str(inner), deep) for inner, deep in value.items()}
        if is_secret_name(key):
            return REDACTED
        if isinstance(value, str):
            return self._known.sub(REDACTED, value) if self._known else value
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._clean(key, item) for item in value]
        return value


class _Json:
    """Renders a line as one JSON object, the three fixed fields first."""

    def __call__(self, _logger: Any, _method: str, event_dict: EventDict) -> str:
        ordered = {key: event_dict.pop(key, None) for key in ("time", "level", "event")}
        ordered.update(event_dict)
        return json.dumps(ordered, default=str)


class _Console:
    """Renders a line for reading: an event's sentence first, and no field that is empty or said in the sentence."""

    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(
            colors=colors, timestamp_key="time", pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )

    def __call__(self, logger: Any, method: str, event_dict: EventDict) -> str:
        if human := event_dict.pop("human", None):
            event_dict["event"] = human
            for key in _SAID_IN_THE_SENTENCE:
                event_dict.pop(key, None)
        shown = {key: value for key, value in event_dict.items() if value is not None}
        return str(self._render(logger, method, shown))


@lru_cache(maxsize=1024)
def is_secret_name(key: str) -> bool:
    """Whether what has this name (a field, an environment variable) is a secret."""
    return bool(_SECRET_KEY.search(key)) and key.lower().replace("-", "_") not in _NO_SECRETS


def _add_time_and_correlation(_logger: Any, _method: str, event_dict: EventDict) -> EventDict:
    event_dict.setdefault("time", rfc3339(time.time()))
    if "correlation_id" not in event_dict and (correlation_id := CORRELATION_ID.get()) is not None:
        event_dict["correlation_id"] = correlation_id
    return event_dict


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    get_logger().critical("uncaught exception", exc_info=(kind, error, trace))
