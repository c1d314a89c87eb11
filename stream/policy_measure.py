"""Read the measures of a policy.

Owns `Measure` and `Window`, and the rules of which statistic takes which source, field and window. Must not know of
scores and bands. Called by the policy parser; the engine reads what it makes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from schemas.events import NUMBER_LIMIT
from schemas.fields import NUMBER_FIELDS, TEXT_FIELDS
from stream.normalisers import FULL_POINTS
from stream.policy_errors import did_you_mean, listed, shown
from stream.policy_normalise import read_normaliser
from stream.policy_table import finite

if TYPE_CHECKING:
    from stream.normalisers import Normaliser
    from stream.policy_table import Table

MEASURE_KEYS = (
    "source",
    "stat",
    "field",
    "where",
    "of",
    "weights",
    "per",
    "window",
    "compare",
    "normalise",
    "weight",
    "missing",
)
STATS = (
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "last",
    "days_since_last",
    "distinct_users",
    "distinct_features",
    "rate",
    "share",
    "weighted_count",
)
LONGEST_WINDOW = {"hour": 72, "day": 365}  # in panes

_SOURCES = tuple(TEXT_FIELDS)
_NUMBER_STATS = frozenset({"sum", "mean", "min", "max", "last"})
_COMPARABLE_STATS = ("count", "sum", "weighted_count")
_COUNTING_STATS = frozenset({"count", "rate"})
_ONLY_FOR = {"of": "share", "weights": "weighted_count", "per": "rate"}
_DISTINCT = {"distinct_users": "user_id", "distinct_features": "feature"}
_PER_HOURS = {"hour": 1.0, "day": 24.0, "week": 168.0}

_WINDOW = re.compile(r"(?P<panes>[0-9]{1,9})(?P<unit>[hd])")
_DAYS = f'days from "1d" to "{LONGEST_WINDOW["day"]}d"'
_COUNTS_FOR = "a table of at least one value and what it counts for, such as { low = 0.5, urgent = 4 }"
_SPANS = f'hours from "1h" to "{LONGEST_WINDOW["hour"]}h" or {_DAYS}'

Filter = tuple[tuple[str, tuple[str, ...]], ...]
"""Fields with the values allowed in each, both sorted; an event passes when every field has one of its values."""
Weights = tuple[str, tuple[tuple[str, float], ...]]
"""A field and, by value, what an event with it counts for; sorted by value."""


@dataclass(frozen=True, slots=True)
class Window:
    """How far back: a number of panes, each a UTC hour or a UTC day."""

    panes: int
    unit: Literal["hour", "day"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A number computed from one source's events, and how it becomes points.

    `where` empty means every event; `of` is for `share`, `weights` for `weighted_count` and `per_hours` (1, 24 or
    168) for `rate` only; `weight` is on the policy's own scale; `missing` is in points, None to redistribute the
    weight; with `compare` the value is the change against the window before, in percent.
    """

    name: str
    source: str
    stat: str
    field: str | None
    where: Filter
    of: Filter
    weights: Weights | None
    per_hours: float | None
    window: Window
    normaliser: Normaliser
    weight: float
    missing: float | None
    compare: Literal["previous"] | None = None

    @property
    def reach(self) -> int:
        """Panes that events count in: the window, and the one before it where the two are compared."""
        return self.window.panes * (2 if self.compare else 1)


def read_measures(root: Table) -> tuple[Measure, ...]:
    """The measures of a policy in the order of the file, less those with something wrong, which is noted."""
    measures = root.table("measures", "at least one table, such as [measures.usage]", None)
    if measures is None:
        return ()
    if not list(measures):
        root.problem("measures", "must hold at least one table, such as [measures.usage]; it is empty")
    expected = "a table [measures.NAME] with a source, a stat and so on"
    tables = [(name, measures.named(name, expected, MEASURE_KEYS)) for name in measures]
    _check_total(root, [None if table is None else finite(table.value("weight")) for _, table in tables])
    found = [None if table is None else _read_one(name, table) for name, table in tables]
    return tuple(measure for measure in found if measure is not None)


def _check_total(root: Table, weights: list[float | None]) -> None:
    known = [weight for weight in weights if weight is not None and weight >= 0.0]
    # A score multiplies weights by points before it divides by their sum.
    if finite(sum(known) * FULL_POINTS) is None:
        root.problem("measures", "the weights are too large to add up; use a smaller scale")
    elif known and len(known) == len(weights) and not any(known):
        root.problem("measures", "the weights add up to 0; at least one measure needs a weight above 0")


def _read_one(name: str, table: Table) -> Measure | None:
    source = table.choice("source", _SOURCES)
    stat = table.choice("stat", STATS)
    _check_stat(table, stat, source)
    field = _read_field(table, stat, source)
    where = _read_where(table, source)
    of = _read_of(table, stat, source)
    weights = _read_weights(table, stat, source)
    per = table.choice("per", tuple(_PER_HOURS)) if "per" in table else "day"
    window = _read_window(table, stat)
    compare = _read_compare(table, stat, window) if "compare" in table else None
    normaliser = read_normaliser(table)
    weight = table.number("weight", "a number of 0 or more", 0.0)
    missing = _read_missing(table)
    if source is None or stat is None or window is None or normaliser is None or weight is None:
        return None
    return Measure(
        name=name,
        source=source,
        stat=stat,
        field=field,
        where=where,
        of=of,
        weights=weights,
        per_hours=_PER_HOURS.get(per or "") if stat == "rate" else None,
        window=window,
        normaliser=normaliser,
        weight=weight,
        missing=missing,
        compare=compare,
    )


def _check_stat(table: Table, stat: str | None, source: str | None) -> None:
    """Whether the source can have this statistic, and whether the keys that belong to one statistic are with it."""
    for key, owner in _ONLY_FOR.items():
        if key in table and stat not in (owner, None):
            table.problem(key, f'only stat "{owner}" takes {key}, and stat is "{stat}": remove it or change the stat')
    if stat is None or source is None or stat in _stats_of(source):
        return
    lacks = _DISTINCT.get(stat, "a number field")
    able = listed(_stats_of(source))
    table.problem("stat", f'"{stat}" needs {lacks}, and {source} has none; stats it can have: {able}')


def _stats_of(source: str) -> list[str]:
    lacking = set() if NUMBER_FIELDS[source] else set(_NUMBER_STATS)
    lacking |= {stat for stat, field in _DISTINCT.items() if field not in TEXT_FIELDS[source]}
    return [stat for stat in STATS if stat not in lacking]


def _read_field(table: Table, stat: str | None, source: str | None) -> str | None:
    """The number field a statistic works on; None also where it takes none."""
    if stat in _NUMBER_STATS:
        if source is None:
            known = tuple(dict.fromkeys(field for fields in NUMBER_FIELDS.values() for field in fields))
            return table.choice("field", known)
        fields = NUMBER_FIELDS[source]
        expected = f'a number field of {source} for stat "{stat}" to work on: {listed(fields)}'
        return table.choice("field", fields, expected) if fields else None  # no fields: noted with the stat
    if stat is None or "field" not in table:
        return None
    if stat not in _COUNTING_STATS:
        table.problem("field", f'stat "{stat}" takes no field, not {shown(table.value("field"))}: remove it')
    elif source is None or "count" in NUMBER_FIELDS[source]:
        return table.choice("field", ("count",), f'"count" or nothing with stat "{stat}"')
    else:
        given = shown(table.value("field"))
        table.problem("field", f'stat "{stat}" takes no field on {source}, not {given}: remove it to count events')
    return None


def _read_where(table: Table, source: str | None) -> Filter:
    return _read_filter(table, "where", source) if "where" in table else ()


def _read_of(table: Table, stat: str | None, source: str | None) -> Filter:
    if "of" not in table and stat != "share":
        return ()
    found = _read_filter(table, "of", source)
    if table.value("of") == {}:
        table.wrong("of", "a table of at least one text field: which events to count among all")
    return found


def _read_filter(table: Table, key: str, source: str | None) -> Filter:
    """A table of text fields with lists of values; what is wrong is noted and left out."""
    fields = table.table(key, 'a table of text fields with lists of values, such as { kind = ["…"] }', None)
    found: list[tuple[str, tuple[str, ...]]] = []
    if fields is None:
        return ()
    for field in fields:
        _check_text_field(fields, field, source)
        values = fields.value(field)
        texts = [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
        if isinstance(values, list) and 0 < len(values) == len(texts):
            found.append((field, tuple(sorted(set(texts)))))
        else:
            hint = f"; write [{shown(values)}]" if isinstance(values, str) else ""
            fields.wrong(field, "a list of at least one string", hint)
    return tuple(sorted(found))


def _check_text_field(table: Table, field: str, source: str | None) -> None:
    if source is None or field in TEXT_FIELDS[source]:
        return
    allowed = TEXT_FIELDS[source]
    if field in NUMBER_FIELDS[source]:
        table.problem(field, f"{shown(field)} is a number field of {source}; text fields: {listed(allowed)}")
    else:
        guess = did_you_mean(field, allowed) or ";"
        table.problem(field, f"{shown(field)} is not a text field of {source}{guess} allowed: {listed(allowed)}")


def _read_weights(table: Table, stat: str | None, source: str | None) -> Weights | None:
    if "weights" not in table and stat != "weighted_count":
        return None
    expected = "a table of one text field, such as { priority = { low = 0.5, urgent = 4 } }"
    fields = table.table("weights", expected, None)
    if fields is None:
        return None
    if len(list(fields)) != 1:
        table.wrong("weights", expected)
    found: list[Weights] = []
    for field in fields:
        _check_text_field(fields, field, source)
        values = fields.table(field, _COUNTS_FOR, None)
        if values is None:
            continue
        if not list(values):
            fields.wrong(field, _COUNTS_FOR)
        limits = f"a number from {-NUMBER_LIMIT:g} to {NUMBER_LIMIT:g}: what an event counts for"
        numbers = [(value, values.number(value, limits, -NUMBER_LIMIT, NUMBER_LIMIT)) for value in values]
        found.append((field, tuple(sorted((value, number) for value, number in numbers if number is not None))))
    return found[0] if found else None


def _read_window(table: Table, stat: str | None) -> Window | None:
    given = table.value("window")
    found = _WINDOW.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        table.wrong("window", _SPANS)
        return None
    panes = int(found["panes"])
    unit: Literal["hour", "day"] = "hour" if found["unit"] == "h" else "day"
    days = max(1, min(panes // 24, LONGEST_WINDOW["day"]))
    in_days = f'; did you mean "{days}d"?' if unit == "hour" and panes else ""
    if unit == "hour" and stat == "days_since_last":
        table.wrong("window", f'{_DAYS} for stat "days_since_last"', in_days)
        return None
    if not 1 <= panes <= LONGEST_WINDOW[unit]:
        table.wrong("window", _SPANS, in_days)
        return None
    return Window(panes, unit)


def _read_compare(table: Table, stat: str | None, window: Window | None) -> Literal["previous"] | None:
    """What the window is compared with."""
    chosen = table.choice("compare", ("previous",))
    if stat is not None and stat not in _COMPARABLE_STATS:
        able = listed(_COMPARABLE_STATS)
        table.problem("compare", f'stat "{stat}" can not be compared with the window before; stats that can: {able}')
        return None
    if window is not None and 2 * window.panes > LONGEST_WINDOW[window.unit]:
        most = f"{LONGEST_WINDOW[window.unit] // 2}{window.unit[0]}"
        table.wrong("window", f'at most "{most}" where it is compared with the one before')
        return None
    return None if chosen is None else "previous"


def _read_missing(table: Table) -> float | None:
    given = table.value("missing")
    if given is None or given == "redistribute":
        return None
    hint = did_you_mean(given, ("redistribute",))
    return table.number("missing", 'a number of points from 0 to 100, or "redistribute"', 0.0, FULL_POINTS, hint)
