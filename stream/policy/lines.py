"""Find the line of each key of a TOML file.

`tomllib` returns the values of a file without their lines. This module scans text that `tomllib` has accepted, so it
does not validate it. Must not know what the keys mean. Called by the policy parser when it has mistakes to report.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream.policy.errors import Path

_BLANKS = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")  # also in inline tables, where later versions of TOML allow them
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

    A table that only longer headers or dotted keys define has the line where it is first named. ValueError if the text
    is not TOML.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._offset = 0
        self._ends = [end.start() for end in re.finditer("\n", text)]
        self._last_element: dict[Path, int] = {}  # index by path of arrays that [[headers]] define

    def document(self) -> None:
        table: Path = ()
        self._skip(_BLANKS)
        while self._offset < len(self._text):
            if self._peek() == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANKS)

    def _header(self) -> Path:
        line = self._line()
        brackets = 2 if self._text.startswith("[[", self._offset) else 1
        self._offset += brackets
        *parents, name = self._key()
        self._offset += brackets
        path: Path = ()
        for parent in parents:
            path = self._newest((*path, parent), line)
        path = (*path, name)
        if brackets == 1:
            self.lines[path] = line  # replaces the line of a longer header above
            return path
        self._last_element[path] = self._last_element.get(path, -1) + 1
        return self._newest(path, line)

    def _newest(self, path: Path, line: int) -> Path:
        """The table that a header means by `path`: the last element if it is an array of tables."""
        self.lines.setdefault(path, line)
        if path in self._last_element:
            path = (*path, self._last_element[path])
            self.lines.setdefault(path, line)
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for key in self._key():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._offset += 1  # the equals sign
        self._skip(_SPACES)
        self._value(path)

    def _key(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip(_SPACES)
            if self._peek() in ("'", '"'):
                keys.append(tomllib.loads("key = " + self._skip(_STRING))["key"])
            else:
                keys.append(self._skip(_BARE_KEY))
            self._skip(_SPACES)
            if self._peek() != ".":
                return keys
            self._offset += 1

    def _value(self, path: Path) -> None:
        first = self._peek()
        if first in ("'", '"'):
            self._skip(_STRING)
        elif first == "[":
            self._elements(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _elements(self, path: Path) -> None:
        self._offset += 1
        self._skip(_BLANKS)
        index = 0
        while self._peek() != "]":
            element = (*path, index)
            self.lines[element] = self._line()
            self._value(element)
            self._separator()
            index += 1
        self._offset += 1

    def _inline_table(self, path: Path) -> None:
        self._offset += 1
        self._skip(_BLANKS)
        while self._peek() != "}":
            self._pair(path)
            self._separator()
        self._offset += 1

    def _separator(self) -> None:
        self._skip(_BLANKS)
        if self._peek() == ",":
            self._offset += 1
            self._skip(_BLANKS)

    def _peek(self) -> str:
        return self._text[self._offset : self._offset + 1]

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._offset)
        if match is None:
            message = f"not TOML at line {self._line()}"
            raise ValueError(message)
        self._offset = match.end()
        return match.group()

    def _line(self) -> int:
        return bisect_left(self._ends, self._offset) + 1
