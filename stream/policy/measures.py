"""Read the measures of a policy.

Owns `Measure` and `Window`, and the rules of which statistic takes which source, field and window. Must not know of
scores and bands. Called by the policy parser; the engine reads what it makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.fields import NUMBER_FIELDS, PROFILE_FACTS, TEXT_FIELDS
from stream.policy.errors import did_you_mean, listed, shown
from stream.policy.filters import Filter, Weights, read_of, read_weights, read_where
from stream.policy.normalise import read_normaliser
from stream.policy.normalisers import FULL_POINTS
from stream.policy.windows import (
    MISSING_WORDS,
    Comparison,
    Window,
    read_compare,
    read_hold,
    read_least_peers,
    read_window,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream.policy.normalisers import Normaliser
    from stream.policy.table import Table

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
    "history",
    "least_peers",
    "normalise",
    "weight",
    "missing",
    "stale_after",
    "segments",
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
    "distinct_roles",
    "rate",
    "share",
    "weighted_count",
)
FACT_STATS = {"days_since": ("started_at", "renewal_at"), "days_until": ("started_at", "renewal_at"), "value": ("arr",)}
"""Statistics of the profile, and the fields each can take."""
FACTS_SOURCE = "accounts"
NOT_MEASURES = ("base", "clamping", "exception", "redistribution", "previous policy")
"""Factors of a score, or of a change of it, that are no measures: no measure may be called so."""

_SOURCES = (*TEXT_FIELDS, FACTS_SOURCE)
_POINTS_OF = {"neutral": FULL_POINTS / 2, "zero": 0.0}
_FACT_KEYS = ("source", "stat", "field", "normalise", "weight", "missing", "segments")
_NUMBER_STATS = frozenset({"sum", "mean", "min", "max", "last"})
_COUNTING_STATS = frozenset({"count", "rate"})
_ONLY_FOR = {"of": "share", "weights": "weighted_count", "per": "rate"}
_DISTINCT = {"distinct_users": "user_id", "distinct_features": "feature", "distinct_roles": "role"}
_PER_HOURS = {"hour": 1.0, "day": 24.0, "week": 168.0}


WEIGHT = "a number of 0 or more"


@dataclass(frozen=True, slots=True)
class Measure:
    """A number computed from one source's events, or from the profile, and how it becomes points.

    `where` empty means every event; `of` is for `share`, `weights` for `weighted_count` and `per_hours` (1, 24 or
    168) for `rate` only; `weight` is on the policy's own scale, None where only scores that name it use it; `missing`
    is in points, None to redistribute the weight; `stale_after` (panes) holds the last value for so long before that;
    `compare` sees the window against the one before, against those in `history` (panes), or the value among those of
    other accounts, where a segment needs `least_peers`; `by_segment` has the normalisers of segments that have their
    own. A fact of the profile has a window of 0 panes.
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
    normaliser: Normaliser | None
    weight: float | None
    missing: float | None
    compare: Comparison | None = None
    history: int | None = None
    least_peers: int | None = None
    stale_after: int | None = None
    by_segment: tuple[tuple[str, Normaliser], ...] = ()

    @property
    def blocks(self) -> int:
        """Windows before this one that it is seen against."""
        if self.compare in (None, "peers"):
            return 0
        return 1 if self.history is None else self.history // self.window.panes

    @property
    def reach(self) -> int:
        """Panes that events count in: the window, those it is compared with, and those whose value is held."""
        return self.stale_after or self.window.panes * (1 + self.blocks)


def read_measures(root: Table, segments: Sequence[str]) -> tuple[Measure, ...]:
    """The measures of a policy in the order of the file, less those with something wrong, which is noted."""
    measures = root.table("measures", "at least one table, such as [measures.usage]", None)
    if measures is None:
        return ()
    if not list(measures):
        root.problem("measures", "must hold at least one table, such as [measures.usage]; it is empty")
    expected = "a table [measures.NAME] with a source, a stat and so on"
    for name in measures:
        if name in NOT_MEASURES:
            measures.problem(name, f"{shown(name)} is what a part of scores is called that is no measure: rename it")
    tables = [(name, measures.named(name, expected, MEASURE_KEYS)) for name in measures]
    found = [None if table is None else _read_one(name, table, segments) for name, table in tables]
    return tuple(measure for measure in found if measure is not None)


def _read_one(name: str, table: Table, segments: Sequence[str]) -> Measure | None:
    source = table.choice("source", _SOURCES)
    if source == FACTS_SOURCE or (source is None and table.value("stat") in tuple(FACT_STATS)):
        return _read_fact(name, table, segments)
    stat = table.choice("stat", STATS)
    _check_stat(table, stat, source)
    field = _read_field(table, stat, source)
    where = read_where(table, source)
    of = read_of(table, stat, source)
    weights = read_weights(table, stat, source)
    per = table.choice("per", tuple(_PER_HOURS)) if "per" in table else "day"
    window = read_window(table, stat)
    compare, history = read_compare(table, stat, window)
    least_peers = read_least_peers(table, compare)
    normaliser, by_segment = _read_normalisers(table, segments)
    weight = _read_weight(table)
    missing = _read_missing(table)
    stale_after = read_hold(table, stat, window, compare)
    if source is None or stat is None or window is None:
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
        history=history,
        least_peers=least_peers,
        stale_after=stale_after,
        by_segment=by_segment,
    )


def _read_fact(name: str, table: Table, segments: Sequence[str]) -> Measure | None:
    for key in table:
        if key in MEASURE_KEYS and key not in _FACT_KEYS:
            able = listed(_FACT_KEYS)
            table.problem(key, f"a fact of the profile (source {FACTS_SOURCE}) takes no {key}; it takes {able}")
    stat = table.choice("stat", tuple(FACT_STATS))
    fields = FACT_STATS.get(stat or "", PROFILE_FACTS)
    field = table.choice("field", fields, f'a field for stat "{stat}": {listed(fields)}' if stat else None)
    normaliser, by_segment = _read_normalisers(table, segments)
    weight, missing = _read_weight(table), _read_missing(table)
    if table.value("missing") == "hold":
        table.problem("missing", "a fact of the profile does not slide out of a window: there is nothing to hold")
    if stat is None or field is None:
        return None
    return Measure(
        name=name,
        source=FACTS_SOURCE,
        stat=stat,
        field=field,
        where=(),
        of=(),
        weights=None,
        per_hours=None,
        window=Window(0, "day"),
        normaliser=normaliser,
        weight=weight,
        missing=missing,
        by_segment=by_segment,
    )


def _read_normalisers(
    table: Table, segments: Sequence[str]
) -> tuple[Normaliser | None, tuple[tuple[str, Normaliser], ...]]:
    """The measure's own, and those of segments."""
    own = read_normaliser(table) if "normalise" in table else None
    if "segments" not in table:
        return own, ()
    tables = table.table("segments", "tables such as [measures.NAME.segments.SEGMENT] with a normalise", None)
    found = []
    for name in tables or ():
        assert tables is not None
        if name not in segments:
            guess = did_you_mean(name, segments) or ";"
            there = f"there are: {listed(segments)}" if segments else "there is none"
            tables.problem(name, f"{shown(name)} is no segment of this policy{guess} {there}")
        part = tables.table(name, "a table with a normalise", ("normalise",))
        normaliser = None if part is None else read_normaliser(part)
        if normaliser is not None:
            found.append((name, normaliser))
    return own, tuple(sorted(found, key=lambda pair: pair[0]))


def _read_weight(table: Table) -> float | None:
    return table.number("weight", WEIGHT, 0.0) if "weight" in table else None


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


def _read_missing(table: Table) -> float | None:
    given = table.value("missing")
    if given is None or given in ("redistribute", "hold"):
        return None
    if isinstance(given, str) and given in _POINTS_OF:
        return _POINTS_OF[given]
    hint = did_you_mean(given, MISSING_WORDS)
    expected = f"a number of points from 0 to 100, or {_either(MISSING_WORDS)}"
    return table.number("missing", expected, 0.0, FULL_POINTS, hint)


def _either(words: Sequence[str]) -> str:
    *first, last = map(shown, words)
    return f"{', '.join(first)} or {last}"
