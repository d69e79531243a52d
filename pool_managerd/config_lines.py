"""On which line of a TOML text each key stands. ``tomllib`` reads the values but does not say where they were."""

import re
import tomllib

#: How a place in a TOML document is named: keys, and indices of lists and of ``[[tables]]``.
Place = tuple[str | int, ...]

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\r\n]+")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}(?!")', re.DOTALL),
    re.compile(r"'''.*?'{3,5}(?!')", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)


class LineIndex:
    """The lines (from 1) of all keys, tables and list elements of a text that ``tomllib`` has accepted."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._line = 1
        self._line_at = 0
        self._lengths: dict[Place, int] = {}
        self.lines: dict[Place, int] = {}
        self._document()

    def line(self, place: Place) -> int | None:
        """The line of a place, or else of the nearest table or list around it; None for the document itself."""
        for end in range(len(place), 0, -1):
            if (line := self.lines.get(place[:end])) is not None:
                return line
        return None

    def _document(self) -> None:
        table: Place = ()
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return
            if self._text.startswith("[[", self._at):
                table = self._header(2)
            elif self._peek() == "[":
                table = self._header(1)
            else:
                self._pair(table)

    def _header(self, brackets: int) -> Place:
        line = self._here()
        self._at += brackets
        place: Place = ()
        keys = self._keys()
        for number, key in enumerate(keys, 1):
            place = (*place, key)
            self.lines.setdefault(place, line)
            if number == len(keys) and brackets == 2:
                self._lengths[place] = self._lengths.get(place, 0) + 1
            if place in self._lengths:
                # [a.b] under [[a]] means the latest a.
                place = (*place, self._lengths[place] - 1)
                self.lines.setdefault(place, line)
        # A table that was only implied by a sub-table before is at its own header.
        self.lines[place] = line
        self._at += brackets
        return place

    def _pair(self, table: Place) -> None:
        line = self._here()
        place = table
        for key in self._keys():
            place = (*place, key)
            self.lines.setdefault(place, line)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(place)

    def _value(self, place: Place) -> None:
        start = self._peek()
        if start == "[":
            self._at += 1
            index = 0
            while self._to_next("]"):
                self.lines[(*place, index)] = self._here()
                self._value((*place, index))
                index += 1
        elif start == "{":
            self._at += 1
            while self._to_next("}"):
                self._pair(place)
        elif start in "\"'":
            self._string()
        else:
            self._skip(_SCALAR)

    def _to_next(self, closing: str) -> bool:
        """Go to the next element; False, and past the closing bracket, where there is none."""
        self._skip(_BLANK)
        if self._peek() == ",":
            self._at += 1
            self._skip(_BLANK)
        if self._peek() != closing:
            return True
        self._at += 1
        return False

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            if self._peek() in "\"'":
                keys.append(str(tomllib.loads(f"key = {self._string()}")["key"]))
            else:
                keys.append(self._skip(_BARE))
            self._skip(_SPACE)
            if self._peek() != ".":
                return keys
            self._at += 1

    def _string(self) -> str:
        for pattern in _STRINGS:
            if pattern.match(self._text, self._at):
                return self._skip(pattern)
        raise ValueError(f"no TOML string on line {self._here()}")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"no valid TOML on line {self._here()}")
        self._at = match.end()
        return match.group()

    def _here(self) -> int:
        self._line += self._text.count("\n", self._line_at, self._at)
        self._line_at = self._at
        return self._line
