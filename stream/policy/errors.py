"""Errors of a policy file: each with its file, line, key and message.

Owns `Problem`, `PolicyError`, the list in which mistakes are recorded while a file is read, and how values and names
are written in messages. Must not know what a measure or a band is. Used by every module of the policy parser; callers
of the parser catch `PolicyError`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from schemas.hints import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Path: TypeAlias = tuple[str | int, ...]
"""Path of a value in the file: keys of tables, and indexes of lists."""

_LONGEST_SHOWN = 60
_DEEPEST_SHOWN = 4
_WIDEST_DECIMAL = 256  # bits; Python refuses to write very long integers in decimal
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is, what is allowed, what to do. `line` is None if the whole file is missing a key."""

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        """`file:line: key: message`; editors and terminals turn `file:line` into a link."""
        location = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{location}: {self.key}: {self.message}"


class PolicyError(ValueError):
    """A policy file with mistakes: all of them, in the order of lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        """All problems, one on each line."""
        return "\n".join(str(problem) for problem in self.problems)


class Findings:
    """The mistakes in one file: each reader records its own and continues."""

    def __init__(self) -> None:
        self._mistakes: list[tuple[Path, str]] = []

    def __bool__(self) -> bool:
        """Whether there is any mistake."""
        return bool(self._mistakes)

    def any(self, predicate: Callable[[Path], bool]) -> bool:
        """Whether there is a mistake at a path for which `predicate` is true."""
        return any(predicate(path) for path, _ in self._mistakes)

    def add(self, path: Path, message: str) -> None:
        """Record a mistake in the value at `path`, which may be missing."""
        self._mistakes.append((path, message))

    def located(self, file: str, lines: Mapping[Path, int]) -> tuple[Problem, ...]:
        """All mistakes in the order of lines, those without a line last.

        A path that is not in `lines` has the line of the innermost table around it that is.
        """
        problems = [Problem(file, _line(path, lines), dotted(path), message) for path, message in self._mistakes]
        return tuple(sorted(problems, key=lambda problem: (problem.line is None, problem.line)))


def _line(path: Path, lines: Mapping[Path, int]) -> int | None:
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def dotted(path: Path) -> str:
    """The path as in TOML, with list indexes: `scores.health.bands[1].from`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += ("." if text else "") + (key if _BARE_KEY.fullmatch(key) else json.dumps(key))
    return text


def shown(value: object) -> str:
    """A value as it is written in TOML, cut if it is long."""
    text = _toml(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def _toml(value: object, depth: int = 0) -> str:
    if depth > _DEEPEST_SHOWN:
        return "…"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item, depth + 1) for item in value) + "]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{dotted((key,))} = {_toml(item, depth + 1)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, int) and value.bit_length() > _WIDEST_DECIMAL:
        return hex(value)
    return str(value)


def listed(names: Iterable[str]) -> str:
    """Names separated by commas."""
    return ", ".join(names)


def did_you_mean(word: object, allowed: Iterable[str]) -> str:
    """The end of a message: `; did you mean "…"?`, or nothing if no allowed name is close."""
    meant = closest(word, allowed) if isinstance(word, str) else None
    return "" if meant is None else f"; did you mean {shown(meant)}?"
