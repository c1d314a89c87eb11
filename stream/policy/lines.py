"""Where each key of a TOML file stands.

The standard parser says what a file holds but not where. This is a second look at text that parser has accepted, so
it need not judge, only keep count. Must not know what the keys mean. Called by the policy parser once it has
something to report.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream.policy.errors import Path

_BLANKS = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")  # within inline tables too: later versions of TOML allow it there
_SPACES = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'  # up to two quotes may touch the closing three
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


def key_lines(text: str) -> dict[Path, int]:
    """Line (from 1) of every key, table header and list element of `text`, which `tomllib` must have accepted.

    A table made only by a longer header or a dotted key stands where it is first named. ValueError if the text is not
    TOML.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._ends = [end.start() for end in re.finditer("\n", text)]
        self._last_element: dict[Path, int] = {}  # of each array made by [[headers]]

    def document(self) -> None:
        table: Path = ()
        self._take(_BLANKS)
        while self._at < len(self._text):
            if self._next() == "[":
                table = self._header()
            else:
                self._pair(table)
            self._take(_BLANKS)

    def _header(self) -> Path:
        line = self._line()
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        *parents, name = self._key()
        self._at += brackets
        path: Path = ()
        for parent in parents:
            path = self._newest((*path, parent), line)
        path = (*path, name)
        if brackets == 1:
            self.lines[path] = line  # over what a longer header further up may have said
            return path
        self._last_element[path] = self._last_element.get(path, -1) + 1
        return self._newest(path, line)

    def _newest(self, path: Path, line: int) -> Path:
        """The table a header means by `path`: of an array of tables, its last element."""
        self.lines.setdefault(path, line)
        if path in self._last_element:
            path = (*path, self._last_element[path])
            self.lines.setdefault(path, line)
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._take(_SPACES)
        self._value(path)

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._take(_SPACES)
            if self._next() in ("'", '"'):
                parts.append(tomllib.loads("key = " + self._take(_STRING))["key"])
            else:
                parts.append(self._take(_BARE_KEY))
            self._take(_SPACES)
            if self._next() != ".":
                return parts
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._next()
        if first in ("'", '"'):
            self._take(_STRING)
        elif first == "[":
            self._elements(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._take(_SCALAR)

    def _elements(self, path: Path) -> None:
        self._at += 1
        self._take(_BLANKS)
        position = 0
        while self._next() != "]":
            element = (*path, position)
            self.lines[element] = self._line()
            self._value(element)
            self._separator()
            position += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        self._take(_BLANKS)
        while self._next() != "}":
            self._pair(path)
            self._separator()
        self._at += 1

    def _separator(self) -> None:
        self._take(_BLANKS)
        if self._next() == ",":
            self._at += 1
            self._take(_BLANKS)

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            message = f"not TOML at line {self._line()}"
            raise ValueError(message)
        self._at = found.end()
        return found.group()

    def _line(self) -> int:
        return bisect_left(self._ends, self._at) + 1
