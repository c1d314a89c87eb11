"""Read one table of a policy file key by key; a mistake is recorded, and reading continues.

Owns the checks that every table needs (unknown and missing keys, types, ranges, names) and the wording of their
messages. Must not know what the keys mean. Used by the modules that read measures, scores, segments and alerts.

Each reader returns None, or an empty tuple, if the key is absent or its value is wrong. The mistake has then been
recorded, so the caller builds nothing from None and reports nothing more. A misspelled key or word is recorded and then
read as what was probably meant, so that one run also checks the rest of the file against it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from schemas.hints import closest
from stream.policy.errors import Findings, Path, did_you_mean, listed, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence


class Number(NamedTuple):
    """A number that a key takes: from `low` to `high`, but not `above` itself. `expected` describes it in messages."""

    expected: str
    low: float = -math.inf
    high: float = math.inf
    above: float | None = None


WEIGHT = Number("a number of 0 or more", 0.0)


class Table:
    """A table of the file at `path`. Only `keys` are allowed in it; None allows any, because the keys are names."""

    def __init__(
        self, values: Mapping[str, object], path: Path, findings: Findings, keys: tuple[str, ...] | None
    ) -> None:
        self.path = path
        self._values = values
        self._findings = findings
        self._spelling = {} if keys is None else misspelled(values, keys)
        for key in values if keys is not None else ():
            self.check_name(key, key, keys or ())

    def __contains__(self, key: str) -> bool:
        """Whether the file has the key, with a right or a wrong value."""
        return self._spelling.get(key, key) in self._values

    def __iter__(self) -> Iterator[str]:
        """The keys as the file spells them, in its order."""
        return iter(self._values)

    def __len__(self) -> int:
        """How many keys the file has here."""
        return len(self._values)

    def path_of(self, key: str) -> Path:
        """The path of the value of `key`, with the key as the file spells it."""
        return (*self.path, self._spelling.get(key, key))

    def problem(self, key: str, message: str) -> None:
        """Record a mistake in the value of `key`."""
        self._findings.add(self.path_of(key), message)

    def wrong(self, key: str, expected: str, hint: str = "") -> None:
        """Record that the value of `key` is not what it must be, or is missing."""
        if key in self:
            self.problem(key, f"must be {expected}, not {shown(self.value(key))}{hint}")
        else:
            self.problem(key, f"missing: must be {expected}{hint}")

    def check_name(self, key: str, name: object, known: Collection[str], what: str = "") -> bool:
        """Whether a name in `key` is one of `known`, or else record it; `what` says what they are, "" for keys."""
        if name not in known:
            guess = did_you_mean(name, known) or ";"
            unknown = f"{shown(name)} is not {what}" if what else f"unknown key {shown(name)}"
            allowed = f"allowed here: {listed(known)}" if known else "there is none"
            self.problem(key, f"{unknown}{guess} {allowed}")
        return name in known

    def value(self, key: str) -> object:
        """The value as it is in the file, None if absent."""
        return self._values.get(self._spelling.get(key, key))

    def text(self, key: str, expected: str, *, required: bool = True) -> str | None:
        """A printable string that is not blank."""
        value = self.value(key)
        if isinstance(value, str) and is_name(value):
            return value
        if required or key in self:
            self.wrong(key, expected)
        return None

    def texts(self, key: str, example: str = "", *, printable: bool = True) -> tuple[str, ...]:
        """A list of at least one string; empty if absent."""
        value = self.value(key)
        items = value if isinstance(value, list) else []
        texts = tuple(item for item in items if isinstance(item, str) and (is_name(item) or not printable))
        if key in self and not 0 < len(texts) == len(items):
            hint = f"; write [{shown(value)}]" if isinstance(value, str) else ""
            self.wrong(key, f"a list of at least one string{example}", hint)
            return ()
        return texts

    def choice(
        self, key: str, allowed: tuple[str, ...], expected: str | None = None, *, required: bool = True
    ) -> str | None:
        """One of the words in `allowed`; a word that is not allowed but close to one gives that one."""
        value = self.value(key)
        if isinstance(value, str) and value in allowed:
            return value
        if required or key in self:
            self.wrong(key, expected or f"one of {listed(allowed)}", did_you_mean(value, allowed))
        return closest(value, allowed) if isinstance(value, str) else None

    def number(self, key: str, allowed: Number, hint: str = "", *, required: bool = True) -> float | None:
        """A finite number within the limits of `allowed`."""
        number = finite(self.value(key))
        if number is not None and allowed.low <= number <= allowed.high and number != allowed.above:
            return number
        if required or key in self:
            self.wrong(key, allowed.expected, hint)
        return None

    def whole_number(self, key: str, expected: str, most: int) -> int | None:
        """A whole number from 1 to `most`; None if absent."""
        value = self.value(key)
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
            return value
        if key in self:
            self.wrong(key, expected)
        return None

    def numbers(self, key: str, expected: str, each: Number) -> tuple[Table | None, tuple[tuple[str, float], ...]]:
        """A table of at least one name with a number each: the table, and the valid pairs sorted by name."""
        table = self.table(key, expected, None)
        if table is not None and not len(table):
            self.wrong(key, expected)
        pairs = [(name, table.number(name, each)) for name in table or () if table is not None]
        return table, tuple(sorted((name, number) for name, number in pairs if number is not None))

    def table(self, key: str, expected: str, keys: tuple[str, ...] | None) -> Table | None:
        """The table in `key`."""
        value = self.value(key)
        if isinstance(value, dict):
            return Table(value, self.path_of(key), self._findings, keys)
        self.wrong(key, expected)
        return None

    def names(self, key: str, expected: str) -> Table:
        """The table in `key` whose keys are names; without any if absent or wrong."""
        table = self.table(key, expected, None) if key in self else None
        return table or Table({}, self.path_of(key), self._findings, None)

    def optional(self, key: str, expected: str, keys: tuple[str, ...]) -> Table | None:
        """The table in `key`, an empty one if absent; None if it is wrong."""
        return self.table(key, expected, keys) if key in self else Table({}, self.path_of(key), self._findings, keys)

    def named(self, name: str, expected: str, keys: tuple[str, ...]) -> Table | None:
        """The table in a key that is a name, which people read."""
        if not is_name(name):
            self.problem(name, "the name must be printable and not blank")
        return self.table(name, expected, keys)

    def without_when(self, name: str, keys: tuple[str, ...], condition: str) -> bool:
        """Whether the table `name` has some of `keys` but no `when` to hold them, which is recorded."""
        table = self.value(name)
        bare = [key for key in keys if isinstance(table, dict) and key in table and "when" not in table]
        if bare:
            self.problem(name, f"{condition} must be in when: write when = {{ {bare[0]} = … }}")
        return bool(bare)

    def tables(self, key: str, expected: str, keys: tuple[str, ...]) -> list[Table]:
        """The list of at least one table in `key`; elements that are not tables are recorded and left out."""
        value = self.value(key)
        if not isinstance(value, list) or not value:
            self.wrong(key, expected)
            return []
        tables: list[Table] = []
        for index, element in enumerate(value):
            path = (*self.path_of(key), index)
            if isinstance(element, dict):
                tables.append(Table(element, path, self._findings, keys))
            else:
                self._findings.add(path, f"must be a table with {listed(keys)}, not {shown(element)}")
        return tables


def is_name(text: str) -> bool:
    """Whether people can read it: printable and not blank."""
    return bool(text.strip()) and text.isprintable()


def misspelled(values: Mapping[str, object], keys: Sequence[str]) -> dict[str, str]:
    """Allowed keys that are absent, each with the unknown key that was probably meant to be it."""
    spelling: dict[str, str] = {}
    for key in values:
        meant = None if key in keys else closest(key, keys)
        if meant is not None and meant not in values:
            spelling.setdefault(meant, key)
    return spelling


def finite(value: object) -> float | None:
    """A TOML number as a float; None for anything else, and for numbers that do not fit in a finite float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number + 0.0 if math.isfinite(number) else None  # + 0.0: a policy does not distinguish -0.0 from 0.0
