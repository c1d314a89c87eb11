"""What is wrong with a policy, said so that a person can mend it.

Owns a problem's form, the wording pieces all messages share, and the list problems gather in while a file is read.
Must not know what a measure or a band is. Used by every part of the policy parser; callers of the parser meet
`PolicyError`.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Path: TypeAlias = tuple[str | int, ...]
"""Where a value stands in the file: table names and keys, and positions in lists."""

_LONGEST_SHOWN = 60
_DEEPEST_SHOWN = 4
_WIDEST_DECIMAL = 256  # bits; Python refuses to write very long integers in decimal
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is (no line when something is absent from the whole file), and what to do."""

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        """`file:line: key: message`, as editors and terminals make clickable."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.key}: {self.message}"


class PolicyError(ValueError):
    """A policy that cannot be used, with everything that is wrong with it in the order of its lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        """All problems, one a line."""
        return "\n".join(str(problem) for problem in self.problems)


class Findings:
    """The problems found so far in one file; each reader adds to it and reads on."""

    def __init__(self) -> None:
        self._found: list[tuple[Path, str]] = []

    def __bool__(self) -> bool:
        """Whether anything is wrong."""
        return bool(self._found)

    def any(self, of: Callable[[Path], bool]) -> bool:
        """Whether anything is wrong at a path that `of` is true of."""
        return any(of(path) for path, _ in self._found)

    def add(self, path: Path, message: str) -> None:
        """Note that what stands (or is missing) at `path` is wrong."""
        self._found.append((path, message))

    def located(self, file: str, lines: Mapping[Path, int]) -> tuple[Problem, ...]:
        """All of them by line, those without one last; a path without a line of its own has its enclosing table's."""
        problems = [Problem(file, _line(path, lines), dotted(path), message) for path, message in self._found]
        return tuple(sorted(problems, key=lambda problem: (problem.line is None, problem.line)))


def _line(path: Path, lines: Mapping[Path, int]) -> int | None:
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def dotted(path: Path) -> str:
    """The path as a person would write it: `scores.health.bands[1].from`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else json.dumps(part))
    return text


def shown(value: object) -> str:
    """A value as it looks in a policy file, cut when it is long."""
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
        return (
            "{}"
            if not value
            else "{ " + ", ".join(f"{dotted((key,))} = {_toml(item, depth + 1)}" for key, item in value.items()) + " }"
        )
    if isinstance(value, int) and value.bit_length() > _WIDEST_DECIMAL:
        return hex(value)
    return str(value)


def listed(names: Iterable[str], show: Callable[[str], str] = str) -> str:
    """Names with commas between."""
    return ", ".join(map(show, names))


def closest(given: str, allowed: Iterable[str]) -> str | None:
    """What was probably meant, if anything is near enough: it looks alike, or it alone has the given word in it.

    Letters in another order are nearest of all.
    """
    names = list(allowed)
    near = difflib.get_close_matches(given.lower(), names)
    swapped = [name for name in near if sorted(name) == sorted(given.lower())]
    having = [name for name in names if given.lower() in name.split("_")]
    if swapped:
        return swapped[0]
    return near[0] if near else having[0] if len(having) == 1 else None


def did_you_mean(given: object, allowed: Iterable[str]) -> str:
    """The end of a message: `; did you mean "…"?`, or nothing."""
    meant = closest(given, allowed) if isinstance(given, str) else None
    return "" if meant is None else f"; did you mean {shown(meant)}?"
