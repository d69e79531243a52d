"""The table of settings in the documentation is the one in the code. Run as a program, this file writes it anew."""

from __future__ import annotations

from pathlib import Path

from pool_managerd.engines.simulated.options import CONTROL_KEYS, OPTIONS

PAGE = Path(__file__).parents[2] / "docs" / "simulated-engine.md"
BEGIN, END = "<!-- settings: begin (written by tests/engines/test_engine_docs.py) -->\n", "<!-- settings: end -->"


def table() -> str:
    rows = ["| key | type | default | lasts | what it does |", "|---|---|---|---|---|"]
    for option in OPTIONS:
        kind = "action" if option.action else "at start only" if option.start_only else "state"
        default = "" if option.default in (None, "", []) else str(option.default).lower()
        rows.append(f"| `{option.name}` | {option.type} | {default} | {kind} | {option.help} |")
    return "\n".join(rows) + "\n"


def test_the_page_lists_every_setting():
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0] == table()
    assert all(f"| `{key}` |" in text for key in CONTROL_KEYS)


if __name__ == "__main__":
    head, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(head + begin + table() + END + rest.partition(END)[2], encoding="utf-8")
