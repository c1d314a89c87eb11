"""Read the measures of a policy.

Owns `Measure`, and which statistic works with which source and field. Must not know of scores and bands. Called by the
policy parser; the engine compiles the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.fields import NUMBER_FIELDS, PROFILE_FACTS, TEXT_FIELDS
from schemas.properties import property_name
from stream.policy.errors import did_you_mean, listed, shown
from stream.policy.fields import account_field, read_account_field, read_property
from stream.policy.filters import Filter, Weights, read_of, read_weights, read_where
from stream.policy.formulas.formula import Formula, FormulaError, parse_formula
from stream.policy.normalise import read_normaliser
from stream.policy.normalisers import FULL_POINTS, Grid
from stream.policy.table import WEIGHT, Number
from stream.policy.windows import (
    DAYS_A_WEEK,
    MISSING_WORDS,
    PERIOD_STATS,
    Comparison,
    Complete,
    Window,
    complete_by_itself,
    read_compare,
    read_complete,
    read_hold,
    read_least_peers,
    read_window,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream.policy.normalisers import Normaliser
    from stream.policy.table import Table

_EVENT_KEYS = ("where", "of", "weights", "per", "percent", "window", "complete", "compare", "history", "least_peers")
_FACT_KEYS = ("source", "stat", "field", "normalise", "weight", "missing", "segments")
_DERIVED_KEYS = ("value", "compare", "normalise", "weight", "missing", "segments")
MEASURE_KEYS = (*_FACT_KEYS[:3], *_EVENT_KEYS, *_FACT_KEYS[3:6], "stale_after", *_FACT_KEYS[6:], "value")
FACT_STATS = {"days_since": ("started_at", "renewal_at"), "days_until": ("started_at", "renewal_at"), "value": ("arr",)}
"""Statistics of the profile, with the fields that each can take."""
FACTS_SOURCE = "accounts"
NOT_MEASURES = ("base", "clamping", "exception", "redistribution", "previous policy")
"""Names of factors of a score, or of a change of it, that are not measures: a measure cannot have one of them."""

_SOURCES = (*TEXT_FIELDS, FACTS_SOURCE)
_POINTS_OF = {"neutral": FULL_POINTS / 2, "zero": 0.0}
_COUNTING_STATS = ("count", "rate")
_NUMBER_STATS = ("sum", "mean", "min", "max", "last", "nps", "percentile")
_DISTINCT = {"distinct_users": "user_id", "distinct_features": "feature", "distinct_roles": "role"}
"""Statistics that need a field of their own, with the field."""
STATS = (
    *("count", "sum", "mean", "min", "max", "last", "days_since_last"),
    *(*_DISTINCT, "rate", "share", "weighted_count", "distinct", "nps"),
    *(*PERIOD_STATS, "percentile"),
)
_ONLY_FOR = {
    "of": ("share",),
    "weights": ("weighted_count",),
    "per": ("rate", *PERIOD_STATS),
    "percent": ("percentile",),
}
_NO_WINDOW = Window(0, "day")
NPS_ANSWERS = 'where = { kind = ["nps"] }'
_MOST_PERCENT = 99
_PER_HOURS = {"hour": 1.0, "day": 24.0, "week": 168.0}
_MISSING = Number(
    f"a number of points from 0 to 100, or {', '.join(map(shown, MISSING_WORDS[:-1]))} or {shown(MISSING_WORDS[-1])}",
    0.0,
    FULL_POINTS,
)


@dataclass(frozen=True, slots=True)
class Measure:
    """A number computed from one source's events, from the profile or from other measures, and how it becomes points.

    - `where`: the events that count; empty for all. `of` is only for `share`, `weights` only for `weighted_count`.
    - `per_hours`: 1, 24 or 168, only for `rate` and for statistics that count days or weeks (24 or 168).
    - `percent`: 1 to 99, only for `percentile`.
    - `window`: 0 panes for a fact of the profile.
    - `complete`: how the current pane counts where the policy says it; `current_pane` is how it counts in any measure.
    - `normaliser`: None if no score needs points; `by_segment`: the normalisers of segments that have their own.
    - `weight`: on the policy's own scale; None if only scores that name the measure use it.
    - `missing`: points of an account without a value; None to redistribute the weight.
    - `stale_after`: for how many panes the last value is used before it is missing.
    - `formula`: arithmetic over other measures; such a derived measure has no source, statistic or window of its own.
    - `compare`: with the window before, with those in `history` (panes), or with the values of other accounts, of which
      a segment needs `least_peers`.
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
    complete: Complete | None = None
    percent: int | None = None
    formula: Formula | None = None

    @property
    def has_grid(self) -> bool:
        """Whether its points depend on another measure, in some segment at least."""
        return isinstance(self.normaliser, Grid) or any(isinstance(rule, Grid) for _, rule in self.by_segment)

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the measures that it depends on: inputs of its expression, and those that select rows of a grid."""
        rules = (self.normaliser, *(rule for _, rule in self.by_segment))
        inputs = () if self.formula is None else self.formula.inputs
        return tuple(dict.fromkeys((*inputs, *(rule.by for rule in rules if isinstance(rule, Grid)))))

    @property
    def current_pane(self) -> Complete | None:
        """How the current pane counts; None if the window is it and the panes before it.

        Else the window is that many complete panes, and "only" leaves the current pane out, while with "at-least" it
        takes the place of the oldest as soon as it has more. The one rule for all statistics and comparisons.
        """
        complete = self.complete or complete_by_itself(self.stat, self.compare)
        return None if complete == "off" or not self.window.panes else complete

    @property
    def skip(self) -> int:
        """How many of the newest panes the window leaves out: 1 or 0."""
        return 1 if self.current_pane == "only" else 0

    @property
    def blocks(self) -> int:
        """How many earlier windows it is compared with."""
        if self.compare in (None, "peers"):
            return 0
        return 1 if self.history is None else self.history // self.window.panes

    @property
    def reach(self) -> int:
        """Panes that must be stored: the window with those it is compared with, or until `stale_after`.

        The current pane comes on top of a window of complete panes.
        """
        if self.stat in PERIOD_STATS:  # one period more, for as long as the current one has no event
            return self.window.panes + (DAYS_A_WEEK if self.per_hours == _PER_HOURS["week"] else 1)
        panes = self.window.panes * (1 + self.blocks) + (self.current_pane is not None)
        return max(self.stale_after or 0, panes)


def read_measures(root: Table, segments: Sequence[str]) -> tuple[Measure, ...]:
    """The measures of a policy in the order of the file, without those that are wrong, which is recorded."""
    tables = root.table("measures", "at least one table, such as [measures.usage]", None)
    if tables is None:
        return ()
    if not len(tables):
        root.problem("measures", "must have at least one table, such as [measures.usage]; it is empty")
    for name in tables:
        if name in NOT_MEASURES:
            tables.problem(name, f"{shown(name)} is reserved for a factor that is not a measure: choose another name")
    expected = "a table [measures.NAME] with a source, a stat and so on"
    read = [(name, tables.named(name, expected, MEASURE_KEYS)) for name in tables]
    names = tuple(tables)
    measures = [None if table is None else _read_measure(name, table, segments, names) for name, table in read]
    return tuple(measure for measure in measures if measure is not None)


def _read_measure(name: str, table: Table, segments: Sequence[str], measures: Sequence[str]) -> Measure | None:
    if "value" in table:
        return _read_derived(name, table, segments, measures)
    source = table.choice("source", _SOURCES)
    if source == FACTS_SOURCE or (source is None and table.value("stat") in tuple(FACT_STATS)):
        return _read_fact(name, table, segments, measures)
    stat = table.choice("stat", STATS)
    _check_stat(table, stat, source)
    periods = ("day", "week") if stat in PERIOD_STATS else tuple(_PER_HOURS)
    per = table.choice("per", periods, required=False) or "day"
    window = read_window(table, stat)
    compare, history = read_compare(table, stat, window)
    normaliser, by_segment = _read_normalisers(table, segments, measures)
    where = read_where(table, source)
    if stat == "nps" and source == "surveys" and ("kind", ("nps",)) not in where:
        table.problem("stat", f'"nps" needs {NPS_ANSWERS}: other surveys have other scales')
    measure = Measure(
        name=name,
        source=source or "",
        stat=stat or "",
        field=_read_field(table, stat, source),
        where=where,
        of=read_of(table, stat, source),
        weights=read_weights(table, stat, source),
        per_hours=_PER_HOURS[per] if stat in ("rate", *PERIOD_STATS) else None,
        window=window or _NO_WINDOW,
        normaliser=normaliser,
        weight=table.number("weight", WEIGHT, required=False),
        missing=_read_missing(table),
        compare=compare,
        history=history,
        least_peers=read_least_peers(table, compare),
        stale_after=read_hold(table, stat, window, compare),
        by_segment=by_segment,
        complete=read_complete(table, stat, compare),
        percent=_read_percent(table, stat),
    )
    return None if source is None or stat is None or window is None else measure


def _read_derived(name: str, table: Table, segments: Sequence[str], measures: Sequence[str]) -> Measure | None:
    """A measure that is computed from other measures."""
    for key in table:
        if key in MEASURE_KEYS and key not in _DERIVED_KEYS:
            able = listed(_DERIVED_KEYS)
            table.problem(key, f"a measure with a value does not take {key}: remove it; allowed here: {able}")
    text, formula = table.value("value"), None
    if not isinstance(text, str) or not text.strip():
        table.wrong("value", 'a text with arithmetic, such as "active_users / account.arr"')
    else:
        try:
            formula = parse_formula(text, measures)
        except FormulaError as error:
            table.problem("value", str(error))
    compare = table.choice("compare", ("previous",), '"previous" for a measure with a value', required=False)
    if table.value("missing") == "hold":
        table.problem(
            "missing", '"hold" does not work with a value: use it with the measures that the value is made of'
        )
    normaliser, by_segment = _read_normalisers(table, segments, measures)
    measure = _without_events(
        name,
        normaliser=normaliser,
        weight=table.number("weight", WEIGHT, required=False),
        missing=_read_missing(table),
        compare="previous" if compare else None,
        by_segment=by_segment,
        formula=formula,
    )
    return None if formula is None else measure


def profile_measure(name: str, stat: str, field: str) -> Measure:
    """A number of the profile as a measure that gives no points, for expressions that read it."""
    return _without_events(name, FACTS_SOURCE, stat, field, normaliser=None, weight=None, missing=None)


def _without_events(name: str, source: str = "", stat: str = "", field: str | None = None, **rest: Any) -> Measure:
    """A measure that reads no events itself: it has no conditions and no window."""
    return Measure(name, source, stat, field, where=(), of=(), weights=None, per_hours=None, window=_NO_WINDOW, **rest)


def _read_fact(name: str, table: Table, segments: Sequence[str], measures: Sequence[str]) -> Measure | None:
    """A measure of the profile, which has no events and no window."""
    for key in table:
        if key in MEASURE_KEYS and key not in _FACT_KEYS:
            able = listed(_FACT_KEYS)
            table.problem(key, f"source {shown(FACTS_SOURCE)} does not take {key}: remove it; allowed here: {able}")
    stat = table.choice("stat", tuple(FACT_STATS))
    field = _read_fact_field(table, stat)
    if table.value("missing") == "hold":
        message = f'"hold" does not work with source {shown(FACTS_SOURCE)}: a profile does not leave a window'
        table.problem("missing", message)
    normaliser, by_segment = _read_normalisers(table, segments, measures)
    measure = _without_events(
        name,
        FACTS_SOURCE,
        stat or "",
        field,
        normaliser=normaliser,
        weight=table.number("weight", WEIGHT, required=False),
        missing=_read_missing(table),
        by_segment=by_segment,
    )
    return None if stat is None or field is None else measure


def _read_fact_field(table: Table, stat: str | None) -> str | None:
    fields = FACT_STATS.get(stat or "", PROFILE_FACTS)
    name = account_field(table.value("field"))
    if name is not None:
        return read_account_field(table, "field", name, fields)
    kind = "number" if stat == "value" else "date"
    expected = f'a field for stat "{stat}": {listed(fields)}, or account.NAME for a {kind} among the attributes'
    return table.choice("field", fields, expected if stat else None)


def _read_normalisers(
    table: Table, segments: Sequence[str], measures: Sequence[str]
) -> tuple[Normaliser | None, tuple[tuple[str, Normaliser], ...]]:
    """The measure's own normaliser, and those of segments."""
    own = read_normaliser(table, measures) if "normalise" in table else None
    tables = table.names("segments", "tables such as [measures.NAME.segments.SEGMENT] with a normalise")
    by_segment = []
    for name in sorted(tables):
        tables.check_name(name, name, segments, "a segment of this policy")
        segment = tables.table(name, "a table with a normalise", ("normalise",))
        normaliser = None if segment is None else read_normaliser(segment, measures)
        if normaliser is not None:
            by_segment.append((name, normaliser))
    return own, tuple(by_segment)


def _check_stat(table: Table, stat: str | None, source: str | None) -> None:
    """Whether the source has what the statistic needs, and whether keys of one statistic are used with that one."""
    for key, owners in _ONLY_FOR.items():
        if key in table and stat is not None and stat not in owners:
            names = " or ".join(filter(None, (", ".join(map(shown, owners[:-1])), shown(owners[-1]))))
            message = f'only stat {names} takes {key}, and this stat is "{stat}": remove {key} or change the stat'
            table.problem(key, message)
    of_property = stat in _NUMBER_STATS and property_name(str(table.value("field"))) is not None
    if stat is not None and source is not None and stat not in _stats_of(source) and not of_property:
        needed = f"the field {_DISTINCT[stat]}" if stat in _DISTINCT else "a number field"
        able = listed(_stats_of(source))
        table.problem("stat", f'"{stat}" needs {needed}, and {source} has none; stats for {source}: {able}')


def _stats_of(source: str) -> list[str]:
    without = set() if NUMBER_FIELDS[source] else set(_NUMBER_STATS)
    without |= {stat for stat, field in _DISTINCT.items() if field not in TEXT_FIELDS[source]}
    return [stat for stat in STATS if stat not in without]


def _read_field(table: Table, stat: str | None, source: str | None) -> str | None:
    """The field that a statistic works on; None for statistics that do not take one."""
    field = table.value("field")
    name = property_name(field) if isinstance(field, str) else None
    if name is not None and stat in (*_NUMBER_STATS, "distinct"):
        return read_property(table, "field", name)
    return _read_known_field(table, stat, source)


def _read_known_field(table: Table, stat: str | None, source: str | None) -> str | None:
    """A field of the source itself."""
    if stat in _NUMBER_STATS:
        if source is None:
            every = tuple(dict.fromkeys(field for fields in NUMBER_FIELDS.values() for field in fields))
            return table.choice("field", every)
        fields = NUMBER_FIELDS[source]
        expected = f'a number field of {source} for stat "{stat}": {listed(fields)}, or properties.NAME'
        return table.choice("field", fields, expected) if fields else None  # no fields: recorded with the stat
    if stat == "distinct":
        texts = TEXT_FIELDS.get(source or "") or tuple({field for fields in TEXT_FIELDS.values() for field in fields})
        return table.choice("field", texts, f'a text field of {source} for stat "{stat}": {listed(texts)}')
    if stat is None or "field" not in table:
        return None
    value = shown(table.value("field"))
    if stat not in _COUNTING_STATS:
        table.problem("field", f'stat "{stat}" does not take a field: remove field = {value}')
    elif source is None or "count" in NUMBER_FIELDS[source]:
        return table.choice("field", ("count",), f'"count" or left out for stat "{stat}"')
    else:
        table.problem(
            "field", f'stat "{stat}" does not take a field on {source}: remove field = {value} to count events'
        )
    return None


def _read_percent(table: Table, stat: str | None) -> int | None:
    """Which percentile; required for the statistic."""
    expected = f'a whole number from 1 to {_MOST_PERCENT} for stat "percentile"; 50 is the median'
    if stat == "percentile" and "percent" not in table:
        table.wrong("percent", expected)
    return table.whole_number("percent", expected, _MOST_PERCENT) if stat == "percentile" else None


def _read_missing(table: Table) -> float | None:
    value = table.value("missing")
    if value is None or value in ("redistribute", "hold"):
        return None
    if isinstance(value, str) and value in _POINTS_OF:
        return _POINTS_OF[value]
    return table.number("missing", _MISSING, did_you_mean(value, MISSING_WORDS))
