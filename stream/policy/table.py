"""Read one table of a policy file, key by key, noting what is wrong and reading on.

Owns the checks any table needs: unknown keys, missing keys, types and ranges, and how their messages are worded. Must
not know what the keys mean. Used by the readers of measures, normalisers and scores.

Every reader returns None for a key that is absent or wrong. What is wrong has then been noted, so a caller builds
nothing from None and needs to say nothing more. A misspelled key or word counts as what was probably meant once it is
noted, so that the rest of the file is still checked against it and one reading finds all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stream.policy.errors import Findings, Path, closest, did_you_mean, listed, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Table:
    """A table at `path`, of which only `keys` are allowed; with None they are names, and any will do."""

    def __init__(
        self, values: Mapping[str, object], path: Path, findings: Findings, keys: tuple[str, ...] | None
    ) -> None:
        self.path = path
        self._values = values
        self._findings = findings
        self._spelled = {} if keys is None else misspelled(values, keys)
        if keys is not None:
            for key in values:
                if key not in keys:
                    guess = did_you_mean(key, keys) or ";"
                    self.problem(key, f"unknown key {shown(key)}{guess} allowed here: {listed(keys)}")

    def __contains__(self, key: str) -> bool:
        """Whether the file has the key, right or wrong."""
        return self._spelled.get(key, key) in self._values

    def __iter__(self) -> Iterator[str]:
        """The keys of the file, in its order."""
        return iter(self._values)

    def at(self, key: str) -> Path:
        """Where the value of `key` stands, by the key as the file spells it."""
        return (*self.path, self._spelled.get(key, key))

    def problem(self, key: str, message: str) -> None:
        """Note a problem with the value of `key`."""
        self._findings.add(self.at(key), message)

    def wrong(self, key: str, expected: str, hint: str = "") -> None:
        """Note that the value of `key` is not what it must be, or that there is none."""
        if key in self:
            self.problem(key, f"must be {expected}, not {shown(self.value(key))}{hint}")
        else:
            self.problem(key, f"missing: must be {expected}{hint}")

    def value(self, key: str) -> object:
        """The value as the file has it, None when absent."""
        return self._values.get(self._spelled.get(key, key))

    def text(self, key: str, expected: str) -> str | None:
        """A string that is not blank and can be printed."""
        value = self.value(key)
        if isinstance(value, str) and is_name(value):
            return value
        self.wrong(key, expected)
        return None

    def choice(self, key: str, allowed: tuple[str, ...], expected: str | None = None) -> str | None:
        """One of the words in `allowed`; for one that is not, but near to one, that one."""
        value = self.value(key)
        if isinstance(value, str) and value in allowed:
            return value
        self.wrong(key, expected or f"one of {listed(allowed)}", did_you_mean(value, allowed))
        return closest(value, allowed) if isinstance(value, str) else None

    def number(
        self, key: str, expected: str, low: float = -math.inf, high: float = math.inf, hint: str = ""
    ) -> float | None:
        """A finite number from `low` to `high`."""
        number = finite(self.value(key))
        if number is not None and low <= number <= high:
            return number
        self.wrong(key, expected, hint)
        return None

    def table(self, key: str, expected: str, keys: tuple[str, ...] | None) -> Table | None:
        """The table under `key`."""
        value = self.value(key)
        if isinstance(value, dict):
            return Table(value, self.at(key), self._findings, keys)
        self.wrong(key, expected)
        return None

    def named(self, name: str, expected: str, keys: tuple[str, ...]) -> Table | None:
        """The table under a key that is itself a name, which people will read."""
        if not is_name(name):
            self.problem(name, "the name must be printable and not blank")
        return self.table(name, expected, keys)

    def tables(self, key: str, expected: str, keys: tuple[str, ...]) -> list[Table] | None:
        """The list of tables under `key`, at least one; elements that are no tables are noted and left out."""
        value = self.value(key)
        if not isinstance(value, list) or not value:
            self.wrong(key, expected)
            return None
        found: list[Table] = []
        for position, element in enumerate(value):
            path = (*self.at(key), position)
            if isinstance(element, dict):
                found.append(Table(element, path, self._findings, keys))
            else:
                self._findings.add(path, f"must be a table with {listed(keys)}, not {shown(element)}")
        return found


def is_name(text: str) -> bool:
    """Whether people can read it: printable and not blank."""
    return bool(text.strip()) and text.isprintable()


def misspelled(values: Mapping[str, object], keys: Sequence[str]) -> dict[str, str]:
    """Allowed keys that are absent, each with the unknown key that was probably meant to be it."""
    found: dict[str, str] = {}
    for key in values:
        meant = None if key in keys else closest(key, keys)
        if meant is not None and meant not in values:
            found.setdefault(meant, key)
    return found


def finite(value: object) -> float | None:
    """A TOML number as a float; None for anything else, and for what no finite float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number + 0.0 if math.isfinite(number) else None  # + 0.0: to a policy -0.0 is 0.0
