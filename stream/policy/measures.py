"""Read the measures of a policy.

Owns `Measure`, and which keys a measure takes. Must not know of scores and bands. Called by the policy parser; the
engine compiles the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.sources import PROFILE_FACTS
from stream.policy.account_conditions import AccountFilter, read_when
from stream.policy.errors import did_you_mean, listed, shown
from stream.policy.fields import STATS, account_field, check_stat, read_account_field, read_field, read_percent
from stream.policy.filters import Filter, Weights, read_of, read_weights, read_where
from stream.policy.formulas.formula import Formula, FormulaError, parse_formula
from stream.policy.normalise import read_normaliser
from stream.policy.normalisers import FULL_POINTS, Grid
from stream.policy.own.extension import chosen
from stream.policy.own.statistic import OwnStatistic, read_own_statistic
from stream.policy.table import WEIGHT, Number
from stream.policy.windows import (
    DAYS_A_WEEK,
    LONGEST_WINDOW,
    MISSING_WORDS,
    NO_WINDOW,
    PERIOD_STATS,
    WITHOUT_WINDOW,
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

    from schemas.sources import Sources
    from stream.columns.calendar import Calendar
    from stream.policy.normalisers import Normaliser
    from stream.policy.own.extension import Extensions
    from stream.policy.table import Table

_EVENT_KEYS = (
    "where",
    "of",
    "weights",
    "per",
    "percent",
    "parameters",
    "window",
    "complete",
    "compare",
    "history",
    "least_peers",
)
_FACT_KEYS = ("source", "stat", "field", "normalise", "weight", "missing", "segments", "when")
_DERIVED_KEYS = ("value", "compare", "normalise", "weight", "missing", "segments", "when")
MEASURE_KEYS = (*_FACT_KEYS[:3], *_EVENT_KEYS, *_FACT_KEYS[3:6], "stale_after", *_FACT_KEYS[6:], "value")
FACT_STATS = {"days_since": ("started_at", "renewal_at"), "days_until": ("started_at", "renewal_at"), "value": ("arr",)}
"""Statistics of the profile, with the fields that each can take."""
FACTS_SOURCE = "accounts"
NOT_MEASURES = ("base", "clamping", "exception", "redistribution", "previous policy")
"""Names of factors of a score, or of a change of it, that are not measures: a measure cannot have one of them."""

_POINTS_OF = {"neutral": FULL_POINTS / 2, "zero": 0.0}
NPS_ANSWERS = 'where = { kind = ["nps"] }'
_PER_HOURS = {"hour": 1.0, "day": 24.0, "week": 168.0}
_MISSING = Number(
    f"a number of points from 0 to 100, or {', '.join(map(shown, MISSING_WORDS[:-1]))} or {shown(MISSING_WORDS[-1])}",
    0.0,
    FULL_POINTS,
)


@dataclass(frozen=True)
class Measure:
    """A number computed from one source's events, from the profile or from other measures, and how it becomes points.

    - `where`: the events that count; empty for all. `of`: the numerator of `share`, or the events that leave a thing
      open. `weights`: only for `weighted_count` and `last`.
    - `per_hours`: 1, 24 or 168, only for `rate` and for statistics that count days or weeks (24 or 168). A week of a
      window in business days has only the hours of those.
    - `percent`: 1 to 99, only for `percentile`.
    - `window`: 0 panes for a fact of the profile, and for statistics that look back without limit.
    - `complete`: how the current pane counts where the policy says it; `current_pane` is how it counts in any measure.
    - `normaliser`: None if no score needs points; `by_segment`: the normalisers of segments that have their own.
    - `weight`: on the policy's own scale; None if only scores that name the measure use it.
    - `missing`: points of an account without a value; None to redistribute the weight.
    - `stale_after`: for how many panes the last value is used before it is missing.
    - `formula`: arithmetic over other measures; such a derived measure has no source, statistic or window of its own.
    - `own`: the statistic, where another package has it; `stat` is its name.
    - `when`: a condition on the account; the measure has no value of other accounts.
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
    when: AccountFilter | None = None
    own: OwnStatistic | None = None

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

    @cached_property
    def current_pane(self) -> Complete | None:
        """How the current pane counts; None if the window is it and the panes before it.

        Else the window is that many complete panes, and "only" leaves the current pane out, while with "at-least" it
        takes the place of the oldest as soon as it has more. The one rule for all statistics and comparisons.
        """
        complete = self.complete or complete_by_itself(self.stat, self.compare)
        return None if complete == "off" or not self.window.panes else complete

    @cached_property
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

        The current pane comes on top of a window of complete panes. Without a window, it is how late an event may be.
        """
        if self.stat in WITHOUT_WINDOW and not self.window.panes:
            return LONGEST_WINDOW["day"]
        if self.stat in PERIOD_STATS:  # one period more, for as long as the current one has no event
            return self.window.panes + (DAYS_A_WEEK if self.per_hours == _PER_HOURS["week"] else 1)
        panes = self.window.panes * (1 + self.blocks) + (self.current_pane is not None)
        return max(self.stale_after or 0, panes)


class _Known(NamedTuple):
    """What a measure can name: segments, measures and sources of the policy, its calendar, and what is installed."""

    segments: Sequence[str]
    measures: Sequence[str]
    sources: Sources
    calendar: Calendar
    extensions: Extensions


def read_measures(
    root: Table, segments: Sequence[str], sources: Sources, calendar: Calendar, extensions: Extensions
) -> tuple[Measure, ...]:
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
    known = _Known(segments, tuple(tables), sources, calendar, extensions)
    measures = [None if table is None else _read_measure(name, table, known) for name, table in read]
    return tuple(measure for measure in measures if measure is not None)


def _hours_of(per: str, window: Window | None, calendar: Calendar) -> float:
    """Hours of a period; of a week of business days, those of the business days that a week without holidays has."""
    if per == "week" and window is not None and window.unit == "business day":
        return _PER_HOURS["day"] * len(calendar.weekdays)
    return _PER_HOURS[per]


def _read_measure(name: str, table: Table, known: _Known) -> Measure | None:
    if "value" in table:
        return _read_derived(name, table, known)
    chosen = table.choice("source", (*known.sources.of_events, FACTS_SOURCE))
    if chosen == FACTS_SOURCE or (chosen is None and table.value("stat") in tuple(FACT_STATS)):
        return _read_fact(name, table, known)
    source = None if chosen is None else known.sources[chosen]
    stat, own = _read_stat(table, known.extensions)
    check_stat(table, stat, source, own)
    periods = ("day", "week") if stat in PERIOD_STATS else tuple(_PER_HOURS)
    per = table.choice("per", periods, required=False) or "day"
    window = read_window(table, stat, known.calendar)
    compare, history = read_compare(table, stat, window)
    normaliser, by_segment = _read_normalisers(table, known)
    where = read_where(table, source)
    if stat == "nps" and chosen == "surveys" and ("kind", ("nps",)) not in where:
        table.problem("stat", f'"nps" needs {NPS_ANSWERS}: other surveys have other scales')
    measure = Measure(
        name=name,
        source=chosen or "",
        stat=stat or "",
        field=read_field(table, (stat, own), source, known.sources),
        where=where,
        of=read_of(table, stat, source),
        weights=read_weights(table, stat, source),
        per_hours=_hours_of(per, window, known.calendar) if stat in ("rate", *PERIOD_STATS) else None,
        window=window or NO_WINDOW,
        normaliser=normaliser,
        weight=table.number("weight", WEIGHT, required=False),
        missing=_read_missing(table),
        compare=compare,
        history=history,
        least_peers=read_least_peers(table, compare),
        stale_after=read_hold(table, stat, window, compare),
        by_segment=by_segment,
        complete=read_complete(table, stat, compare, own=own is not None),
        percent=read_percent(table, stat),
        when=read_when(table, required=False),
        own=own,
    )
    return None if source is None or stat is None or window is None else measure


def _read_stat(table: Table, extensions: Extensions) -> tuple[str | None, OwnStatistic | None]:
    """The name of the statistic, and the statistic itself where another package has it."""
    stat = chosen(table, "stat", STATS, "statistic", extensions)
    if stat is None or stat in STATS:
        if stat is not None and "parameters" in table:
            table.problem("parameters", f'stat "{stat}" takes no parameters: remove parameters')
        return stat, None
    own = read_own_statistic(table, stat, extensions)
    return (None if own is None else stat), own


def _read_derived(name: str, table: Table, known: _Known) -> Measure | None:
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
            formula = parse_formula(text, known.measures)
        except FormulaError as error:
            table.problem("value", str(error))
    compare = table.choice("compare", ("previous",), '"previous" for a measure with a value', required=False)
    if table.value("missing") == "hold":
        table.problem(
            "missing", '"hold" does not work with a value: use it with the measures that the value is made of'
        )
    normaliser, by_segment = _read_normalisers(table, known)
    measure = _without_events(
        name,
        normaliser=normaliser,
        weight=table.number("weight", WEIGHT, required=False),
        missing=_read_missing(table),
        compare="previous" if compare else None,
        by_segment=by_segment,
        formula=formula,
        when=read_when(table, required=False),
    )
    return None if formula is None else measure


def profile_measure(name: str, stat: str, field: str) -> Measure:
    """A number of the profile as a measure that gives no points, for expressions that read it."""
    return _without_events(name, FACTS_SOURCE, stat, field, normaliser=None, weight=None, missing=None)


def _without_events(name: str, source: str = "", stat: str = "", field: str | None = None, **rest: Any) -> Measure:
    """A measure that reads no events itself: it has no conditions and no window."""
    return Measure(name, source, stat, field, where=(), of=(), weights=None, per_hours=None, window=NO_WINDOW, **rest)


def _read_fact(name: str, table: Table, known: _Known) -> Measure | None:
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
    normaliser, by_segment = _read_normalisers(table, known)
    measure = _without_events(
        name,
        FACTS_SOURCE,
        stat or "",
        field,
        normaliser=normaliser,
        weight=table.number("weight", WEIGHT, required=False),
        missing=_read_missing(table),
        by_segment=by_segment,
        when=read_when(table, required=False),
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


def _read_normalisers(table: Table, known: _Known) -> tuple[Normaliser | None, tuple[tuple[str, Normaliser], ...]]:
    """The measure's own normaliser, and those of segments."""
    own = read_normaliser(table, known.measures, known.extensions) if "normalise" in table else None
    tables = table.names("segments", "tables such as [measures.NAME.segments.SEGMENT] with a normalise")
    by_segment = []
    for name in sorted(tables):
        tables.check_name(name, name, known.segments, "a segment of this policy")
        segment = tables.table(name, "a table with a normalise", ("normalise",))
        normaliser = None if segment is None else read_normaliser(segment, known.measures, known.extensions)
        if normaliser is not None:
            by_segment.append((name, normaliser))
    return own, tuple(by_segment)


def _read_missing(table: Table) -> float | None:
    value = table.value("missing")
    if value is None or value in ("redistribute", "hold"):
        return None
    if isinstance(value, str) and value in _POINTS_OF:
        return _POINTS_OF[value]
    return table.number("missing", _MISSING, did_you_mean(value, MISSING_WORDS))
