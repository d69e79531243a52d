"""Prometheus' text format (0.0.4), read strictly, and the rules of ``promtool check metrics``.

Pure: text in, faults out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

#: The content type that belongs to the format.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TYPES = frozenset({"counter", "gauge", "histogram", "summary", "untyped"})
#: Units that have a base unit, which a name must use instead.
_OTHER_UNITS = re.compile(
    r"(milli|micro|nano)seconds|minutes|hours|days|(kilo|mega|giga|kibi|mebi|gibi)bytes|bits|percent|[mun]s|[kmg]i?b"
)
_ABBREVIATED = re.compile(r"s|sec|[mun]s|[kmgt]?b|[mhd]")
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+|Inf)|NaN"
_SAMPLE = re.compile(rf"({_NAME})(?:\{{((?:{_LABEL},?)*)\}})? ({_NUMBER})(?: -?\d+)?")


@dataclass(slots=True)
class Family:
    """One metric: its HELP and TYPE, and its samples by name and labels."""

    name: str
    help: str | None = None
    type: str | None = None
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)

    def owns(self, sample: str) -> bool:
        """Whether a sample of this name belongs to it."""
        suffixes = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}
        return sample in {self.name + suffix for suffix in suffixes.get(self.type or "", ("",))}


def read(text: str) -> tuple[list[Family], list[str]]:
    """The families of a scrape, and what is wrong with its form."""
    families: list[Family] = []
    faults: list[str] = []
    if text and not text.endswith("\n"):
        faults.append("the last line has no line end")
    for number, line in enumerate(text.split("\n")[:-1], 1):
        if fault := _line(line, families):
            faults.append(f"line {number}: {fault}: {line[:200]}")
    return families, faults


def faults(text: str, *, prefix: str) -> list[str]:
    """All that is wrong with a scrape: its form, its families, its names.

    :param prefix: what every name must begin with.
    """
    families, found = read(text)
    names = [family.name for family in families]
    found += [f"{name} has two blocks" for name in sorted({name for name in names if names.count(name) > 1})]
    for family in families:
        found += [f"{family.name}: {fault}" for fault in (*_of_family(family), *_of_name(family, prefix))]
        if family.type == "histogram":
            found += [f"{family.name}: {fault}" for fault in _of_histogram(family)]
    return found


def _line(line: str, families: list[Family]) -> str | None:
    if line.startswith(("# HELP ", "# TYPE ")):
        return _head(line, families)
    if not line or line.startswith("#"):
        return None
    match = _SAMPLE.fullmatch(line)
    if match is None:
        return "no sample"
    labels = re.findall(_LABEL, match[2] or "")
    key = (match[1], tuple(sorted(labels)))
    if not families or not families[-1].owns(match[1]):
        return "a sample outside its family's block"
    if len({name for name, _ in labels}) < len(labels):
        return "a label twice"
    fault = "the same series twice" if key in families[-1].samples else None
    families[-1].samples[key] = float(match[5])
    return fault


def _head(line: str, families: list[Family]) -> str | None:
    _, word, name, *rest = line.split(" ", 3)
    text = rest[0] if rest else ""
    if not re.fullmatch(_NAME, name):
        return "no metric's name"
    if not families or families[-1].name != name:
        families.append(Family(name))
    family = families[-1]
    if family.samples:
        return f"{word} behind its samples"
    if word == "HELP":
        second, family.help = family.help is not None, text
    else:
        second, family.type = family.type is not None, text
        if text not in TYPES:
            return "no such type"
    return f"a second {word}" if second else None


def _of_family(family: Family) -> Iterator[str]:
    if not (family.help or "").strip():
        yield "no HELP"
    if family.type is None:
        yield "no TYPE"


def _of_name(family: Family, prefix: str) -> Iterator[str]:
    words = family.name.split("_")
    if not family.name.startswith(prefix):
        yield f"its name does not begin with {prefix}"
    if (family.type == "counter") is not family.name.endswith("_total"):
        yield f"a {family.type} whose name {'lacks' if family.type == 'counter' else 'has'} _total"
    if family.name.endswith(("_count", "_sum", "_bucket")):
        yield "its name has the ending of a histogram's part"
    for word in filter(_OTHER_UNITS.fullmatch, words):
        yield f"{word} is no base unit"
    if _ABBREVIATED.fullmatch(words[-1]):
        yield f"{words[-1]} is an abbreviated unit"
    if family.type in words:
        yield "its name says its type"
    if family.name != family.name.lower():
        yield "its name has capital letters"
    for label in sorted({name for _, labels in family.samples for name, _ in labels}):
        if label in {"instance", "job"} or (label in {"le", "quantile"}) > (family.type in {"histogram", "summary"}):
            yield f"the label {label} means something else"


def _of_histogram(family: Family) -> Iterator[str]:
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for (name, labels), value in family.samples.items():
        if name.endswith("_bucket"):
            series = tuple(pair for pair in labels if pair[0] != "le")
            buckets.setdefault(series, []).append((float(dict(labels).get("le", "nan")), value))
    for series, found in buckets.items():
        counts = [count for _, count in sorted(found)]
        if counts != sorted(counts):
            yield f"the buckets of {dict(series)} do not rise"
        if not math.isinf(max(edge for edge, _ in found)):
            yield f"{dict(series)} has no bucket +Inf"
        if family.samples.get((f"{family.name}_count", series)) != counts[-1]:
            yield f"_count of {dict(series)} is not the last bucket"
        if (f"{family.name}_sum", series) not in family.samples:
            yield f"{dict(series)} has no _sum"
