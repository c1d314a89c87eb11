"""Read what a policy says of alerts: rules, storms, and when a source counts as stalled.

Owns `AlertRule`, `Storms` and `IdleSource` and their rules. Of scores it knows names, bands and measures only. Called
by the policy parser.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, cast, get_args

from schemas.events import METRIC_SOURCES, PROFILE_SOURCE
from stream.columns.panes import UNIT_MS
from stream.policy.bands import SEVERITIES
from stream.policy.errors import did_you_mean, listed, shown
from stream.policy.normalisers import FULL_POINTS
from stream.policy.table import is_name, misspelled
from stream.policy.windows import LONGEST_FORECAST, LONGEST_WINDOW, Window, read_panes

if TYPE_CHECKING:
    from stream.policy.measures import Measure
    from stream.policy.scores import Score
    from stream.policy.table import Table

Kind = Literal["below", "band", "left", "drop", "measure", "forecast", "silent"]

_KINDS: tuple[str, ...] = get_args(Kind)
_KEYS = ("score", "when", "severity", "segments", "owner", "actions", "for", "cooldown", "clear", "max_per_day")
_WHEN_KEYS = {
    "below": ("below",),
    "band": ("band",),
    "left": ("left",),
    "drop": ("drop", "within"),
    "measure": ("measure", "points_below"),
    "forecast": ("forecast", "within"),
    "silent": ("silent", "within"),
}
_WHEN = (
    'a table such as { below = 40 }, { band = "poor" }, { left = "healthy" }, { drop = 10, within = "7d" }, '
    '{ measure = "nps", points_below = 30 }, { forecast = "poor", within = "7d" } or '
    '{ silent = "product-usage", within = "14d" }'
)
_RULE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_STORM = "storm"
_SPAN = f'hours from "1h" to "{LONGEST_WINDOW["hour"]}h" or days from "1d" to "{LONGEST_WINDOW["day"]}d"'
_MINUTES = re.compile(r"(?P<count>[0-9]{1,2})m")
_MINUTE_MS = 60_000
_MOST_MINUTES = 60
_MOST_PER_DAY = 100
_PER_DAY = f"a whole number from 1 to {_MOST_PER_DAY}: how often it may fire for an account on one UTC day"
MOST_RULES = 100


@dataclass(frozen=True, slots=True)
class AlertRule:
    """When to alert about an account, and how often.

    `kind` says which of the others count: `level` is a score, a drop or points; `target` a band, a measure or a source;
    `within` a window. `for_ms`, `cooldown_ms` (ms), `clear` and `max_per_day` are None where the rule does without.
    """

    name: str
    score: str
    kind: Kind
    severity: str
    level: float | None = None
    target: str | None = None
    within: Window | None = None
    segments: tuple[str, ...] = ()
    owner: str | None = None
    actions: tuple[str, ...] = ()
    for_ms: int | None = None
    cooldown_ms: int | None = None
    clear: float | None = None
    max_per_day: int | None = None

    @property
    def remembers(self) -> bool:
        """Whether it depends on borders before: then it is judged at every border, also while catching up."""
        settings = (self.for_ms, self.cooldown_ms, self.clear, self.max_per_day)
        return any(given is not None for given in settings) or self.kind in {"left", "drop", "forecast"}


@dataclass(frozen=True, slots=True)
class Storms:
    """So many accounts, and such a share of them, beginning to alert within so long (ms) are one storm."""

    share: float = 0.25
    least: int = 50
    within_ms: int = 10 * _MINUTE_MS


@dataclass(frozen=True, slots=True)
class IdleSource:
    """A source has stalled when none of its events is younger than `after_ms`."""

    source: str
    after_ms: int


def read_idle_sources(root: Table) -> tuple[IdleSource, ...]:
    """The sources that can stall, sorted by name."""
    if "sources" not in root:
        return ()
    tables = root.table("sources", "tables such as [sources.product-usage]", None)
    found = []
    for name in tables or ():
        assert tables is not None
        if name not in METRIC_SOURCES:
            guess = did_you_mean(name, METRIC_SOURCES) if name != PROFILE_SOURCE else ""
            message = f"{shown(name)} is no source of events{guess or ';'} there are: {listed(METRIC_SOURCES)}"
            tables.problem(name, message)
            continue
        table = tables.table(name, 'a table with stall_after = "1d"', ("stall_after",))
        after_ms = None if table is None else _read_span(table, "stall_after")
        if after_ms is not None:
            found.append(IdleSource(name, after_ms))
    return tuple(sorted(found, key=lambda stall: stall.source))


def read_storms(root: Table) -> Storms | None:
    """What makes a storm; None where the policy does not say."""
    if "storms" not in root:
        return None
    table = root.table("storms", 'a table with share = 0.25, least = 50, within = "10m"', ("share", "least", "within"))
    if table is None:
        return None
    usual = Storms()
    share = table.number("share", "a share of the accounts above 0, up to 1", 0.0, 1.0) if "share" in table else None
    if share == 0.0:
        table.wrong("share", "a share of the accounts above 0, up to 1")
    least = _read_count(table, "least", "a whole number of accounts, 1 or more", 1_000_000_000)
    within_ms = _read_minutes(table) if "within" in table else None
    return Storms(share or usual.share, least or usual.least, within_ms or usual.within_ms)


def read_alerts(
    root: Table, scores: Sequence[Score], measures: Sequence[Measure], names: Names
) -> tuple[AlertRule, ...]:
    """The rules of a policy, sorted by name, less those with something wrong, which is noted.

    `measures` are those that could be read, `names` all that the file has, so that a rule about a measure with a
    mistake leads to no second message.
    """
    if "alerts" not in root:
        return ()
    tables = root.table("alerts", "tables such as [alerts.sharp-drop]", None)
    if tables is None:
        return ()
    if len(list(tables)) > MOST_RULES:
        root.problem("alerts", f"must be at most {MOST_RULES} rules, not {len(list(tables))}")
    found = [_Reader(tables, name, scores, measures, names).read() for name in tables]
    return tuple(sorted((rule for rule in found if rule is not None), key=lambda rule: rule.name))


class Names(NamedTuple):
    """The names that measures and segments have in the file, right or wrong."""

    measures: Sequence[str]
    segments: Sequence[str]


class _When(NamedTuple):
    """What a rule looks at: the kind that is meant, and its table."""

    kind: Kind
    table: Table


class _Reader:
    """Reads one rule."""

    def __init__(
        self, tables: Table, name: str, scores: Sequence[Score], measures: Sequence[Measure], names: Names
    ) -> None:
        self._name, self._scores, self._measures, self._names = name, scores, measures, names
        if not _RULE_NAME.fullmatch(name):
            tables.problem(name, "the name of a rule is letters (a to z, A to Z), digits, - and _")
        elif name == _STORM:
            tables.problem(name, f"{shown(_STORM)} is what alerts about storms are called: rename it")
        given = tables.value(name)
        bare = [key for key in _KINDS if isinstance(given, dict) and key in given and "when" not in given]
        self._table = None
        if bare:
            tables.problem(name, f"what a rule looks at stands in a when: write when = {{ {bare[0]} = … }}")
        else:
            self._table = tables.table(name, "a table [alerts.NAME] with a when", _KEYS)

    def read(self) -> AlertRule | None:
        table = self._table
        if table is None:
            return None
        score = self._score(table)
        when = self._when(table)
        severity = table.choice("severity", SEVERITIES) if "severity" in table else "warning"
        segments = self._read_segments(table) if "segments" in table else ()
        owner = table.text("owner", "a string: who acts on it") if "owner" in table else None
        actions = _read_texts(table, "actions", 'such as ["call the sponsor"]') if "actions" in table else ()
        for_ms = _read_span(table, "for") if "for" in table else None
        cooldown_ms = _read_span(table, "cooldown") if "cooldown" in table else None
        per_day = _read_count(table, "max_per_day", _PER_DAY, _MOST_PER_DAY)
        if when is None or score is None or severity is None:
            return None
        kind, level, target, within = _What(when, score, self._measures, self._names.measures).read()
        clear = _read_clear(table, kind, level) if "clear" in table else None
        if kind is None:
            return None
        return AlertRule(
            self._name,
            score.name,
            kind,
            severity,
            level,
            target,
            within,
            segments,
            owner,
            actions,
            for_ms,
            cooldown_ms,
            clear,
            per_day,
        )

    def _score(self, table: Table) -> Score | None:
        names = tuple(score.name for score in self._scores)
        if "score" not in table or not names:
            return self._scores[0] if names else None
        name = table.choice("score", names)
        return next((score for score in self._scores if score.name == name), None)

    @staticmethod
    def _when(table: Table) -> _When | None:
        given = table.value("when")
        keys = given if isinstance(given, dict) else {}
        kinds = [kind for kind in _KINDS if kind in keys] or [
            kind for kind in _KINDS if kind in misspelled(keys, _KINDS)
        ]
        if not kinds and "points_below" in keys:
            kinds = ["measure"]
        if not kinds:
            table.wrong("when", _WHEN)
            return None
        if set(kinds) == {"below", "measure"}:
            table.problem("when", 'the points of a measure are below a number by { measure = "…", points_below = … }')
            return None
        if len(kinds) > 1:
            table.problem("when", f"a rule looks at one thing, and here are {listed(kinds)}: write a rule for each")
            return None
        when = table.table("when", _WHEN, _WHEN_KEYS[kinds[0]])
        assert when is not None, "a table, as its keys have been read"
        return _When(cast("Kind", kinds[0]), when)

    def _read_segments(self, table: Table) -> tuple[str, ...]:
        names = _read_texts(table, "segments", 'such as ["enterprise"]')
        for name in names:
            if name not in self._names.segments:
                guess = did_you_mean(name, self._names.segments) or ";"
                there = f" there are: {listed(self._names.segments)}" if self._names.segments else " there is none"
                table.problem("segments", f"{shown(name)} is no segment of this policy{guess}{there}")
        return tuple(sorted(set(names)))


class _What:
    """Reads what a rule looks at."""

    def __init__(self, when: _When, score: Score, measures: Sequence[Measure], names: Sequence[str]) -> None:
        (self._kind, self._when), self._score, self._measures, self._names = when, score, measures, names

    def read(self) -> tuple[Kind | None, float | None, str | None, Window | None]:
        """Kind, level, target and window; no kind when something is wrong, which is noted."""
        kind, when = self._kind, self._when
        level, target, within = None, None, None
        if kind == "below":
            level = when.number("below", "a number: alert while the score is below it")
        elif kind in {"band", "left", "forecast"}:
            target = self._band(kind)
        elif kind == "drop":
            level = when.number("drop", "a number of points above 0", 0.0)
            if level == 0.0:
                when.wrong("drop", "a number of points above 0")
                level = None
        elif kind == "measure":
            target, level = self._measure()
        else:
            target = when.choice("silent", METRIC_SOURCES)
        if "within" in _WHEN_KEYS[kind]:
            within = self._within(kind)
        read = {"below": (level,), "drop": (level, within), "measure": (level, target)}
        needed = read.get(kind, (target, within) if "within" in _WHEN_KEYS[kind] else (target,))
        whole = all(part is not None for part in needed)
        return kind if whole else None, level, target, within

    def _band(self, kind: str) -> str | None:
        bands = tuple(band.name for band in self._score.bands)
        if not bands:
            return None
        name = self._when.choice(kind, bands)
        if kind == "forecast" and name == bands[-1]:
            self._when.problem(kind, f"{shown(name)} is the best band: nothing turns into it from above")
        return name

    def _measure(self) -> tuple[str | None, float | None]:
        name = self._when.choice("measure", tuple(self._names)) if self._names else None
        expected = "a number of points above 0, up to 100"
        level = self._when.number("points_below", expected, 0.0, FULL_POINTS)
        if level == 0.0:
            self._when.wrong("points_below", expected)
            level = None
        if any(measure.name == name and measure.normaliser is None for measure in self._measures):
            self._when.problem("measure", f"{shown(name)} has no normalise, so it has no points")
        return name, level

    def _within(self, kind: str) -> Window | None:
        most = LONGEST_FORECAST if kind == "forecast" else LONGEST_WINDOW["day"]
        days_only = kind in {"forecast", "silent"}
        expected = f'days from "1d" to "{most}d"' if days_only else _SPAN
        window = read_panes(self._when, "within", expected)
        if window is None:
            return None
        fits = window.unit == "day" or not days_only
        if not fits or not 1 <= window.panes <= (most if window.unit == "day" else LONGEST_WINDOW["hour"]):
            self._when.wrong("within", expected)
            return None
        return window


def _read_clear(table: Table, kind: Kind | None, level: float | None) -> float | None:
    if kind is None or level is None:
        if kind is not None:
            table.problem("clear", f'"{kind}" has no number to be clear of: remove clear')
        return None
    if kind == "drop":
        return table.number("clear", f"a number of points from 0 to {level:g}: less is over", 0.0, level)
    most = FULL_POINTS if kind == "measure" else float("inf")
    range_ = f"from {level:g} to {most:g}" if kind == "measure" else f"of at least {level:g}"
    return table.number("clear", f"a number {range_}: from there on it is over", level, most)


def _read_span(table: Table, key: str) -> int | None:
    """A span in milliseconds."""
    span = read_panes(table, key, _SPAN)
    if span is None:
        return None
    if not 1 <= span.panes <= LONGEST_WINDOW[span.unit]:
        table.wrong(key, _SPAN)
        return None
    return span.panes * UNIT_MS[span.unit]


def _read_minutes(table: Table) -> int | None:
    given = table.value("within")
    found = _MINUTES.fullmatch(given) if isinstance(given, str) else None
    if found is None or not 1 <= int(found["count"]) <= _MOST_MINUTES:
        table.wrong("within", f'minutes from "1m" to "{_MOST_MINUTES}m"')
        return None
    return int(found["count"]) * _MINUTE_MS


def _read_count(table: Table, key: str, expected: str, most: int) -> int | None:
    if key not in table:
        return None
    given = table.value(key)
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= most:
        table.wrong(key, expected)
        return None
    return given


def _read_texts(table: Table, key: str, example: str) -> tuple[str, ...]:
    given = table.value(key)
    texts = given if isinstance(given, list) else []
    found = tuple(text for text in texts if isinstance(text, str) and is_name(text))
    if not 0 < len(found) == len(texts):
        hint = f"; write [{shown(given)}]" if isinstance(given, str) else ""
        table.wrong(key, f"a list of at least one string, {example}", hint)
    return found
