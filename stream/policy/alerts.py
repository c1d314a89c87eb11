"""Read the alert rules of a policy, and what counts as a storm of alerts.

Owns `AlertRule` and `Storms` and their rules. Of scores it knows only names and bands. Called by the
policy parser.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, cast, get_args

from stream.policy.bands import ACTIONS, OWNER, SEVERITIES
from stream.policy.errors import listed, shown
from stream.policy.normalise import POINTS_ABOVE_0
from stream.policy.normalisers import FULL_POINTS
from stream.policy.table import Number, misspelled
from stream.policy.windows import FORECAST_DAYS, SILENT_DAYS, SPANS, Span, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream.policy.scores import Score
    from stream.policy.table import Table

Kind = Literal["below", "band", "left", "drop", "measure", "forecast", "silent"]

MOST_RULES = 100

_KINDS: tuple[str, ...] = get_args(Kind)
_KEYS = ("score", "when", "severity", "segments", "owner", "actions", "for", "cooldown", "clear", "max_per_day")
_WHEN = (
    'a table such as { below = 40 }, { band = "poor" }, { left = "healthy" }, { drop = 10, within = "7d" }, '
    '{ measure = "nps", points_below = 30 }, { forecast = "poor", within = "7d" } or '
    '{ silent = "product-usage", within = "14d" }'
)
_RULE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_STORM = "storm"
_MINUTES = re.compile(r"(?P<count>[0-9]{1,2})m")
_MINUTE_MS = 60_000
_MOST_MINUTES = 60
_MOST_PER_DAY = 100
_PER_DAY = f"a whole number from 1 to {_MOST_PER_DAY} (how often it may fire for an account on one UTC day)"
_SHARE = Number("a share of the accounts above 0, up to 1", 0.0, 1.0, above=0.0)
_MOST_ACCOUNTS = 1_000_000_000


class _Condition(NamedTuple):
    """The keys of a kind of condition besides the one that is its name: its number, its span, its `clear`."""

    level: tuple[str, Number] | None = None
    within: Span | None = None
    clear: str = ""


_CONDITIONS: dict[str, _Condition] = {
    "below": _Condition(
        ("below", Number("a number (alert while the score is below it)")),
        clear="a number of at least {level:g} (the alert ends when the score reaches it)",
    ),
    "band": _Condition(),
    "left": _Condition(),
    "drop": _Condition(
        ("drop", Number("a number of points above 0", 0.0, above=0.0)),
        SPANS,
        "a number of points from 0 to {level:g} (the alert ends when the drop is smaller)",
    ),
    "measure": _Condition(
        ("points_below", POINTS_ABOVE_0),
        clear="a number from {level:g} to 100 (the alert ends when the points reach it)",
    ),
    "forecast": _Condition(within=FORECAST_DAYS),
    "silent": _Condition(within=SILENT_DAYS),
}


@dataclass(frozen=True, slots=True)
class AlertRule:
    """When to alert about an account, and how often.

    `kind` is the kind of condition. `level` is its score, drop or points; `target` its band, measure or source;
    `within` its span; each is None for kinds without it. `for_ms`, `cooldown_ms`, `clear` and `max_per_day` are None
    if the rule does not set them.
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
        """Whether it is a rule with history: then it is evaluated at every window boundary, also during catch-up."""
        settings = (self.for_ms, self.cooldown_ms, self.clear, self.max_per_day)
        return any(setting is not None for setting in settings) or self.kind in {"left", "drop", "forecast"}


@dataclass(frozen=True, slots=True)
class Storms:
    """A storm: at least `least` accounts, and `share` of all, begin to alert within `within_ms`."""

    share: float = 0.25
    least: int = 50
    within_ms: int = 10 * _MINUTE_MS


class Names(NamedTuple):
    """Names in the file, of tables with or without mistakes; `pointless` are measures without a normaliser.

    `sources` are those of events.
    """

    measures: tuple[str, ...]
    pointless: Sequence[str]
    segments: tuple[str, ...]
    sources: tuple[str, ...]


def read_storms(root: Table) -> Storms | None:
    """What counts as a storm; None if the policy does not say."""
    if "storms" not in root:
        return None
    table = root.table("storms", 'a table with share = 0.25, least = 50, within = "10m"', ("share", "least", "within"))
    if table is None:
        return None
    default = Storms()
    share = table.number("share", _SHARE, required=False)
    least = table.whole_number("least", "a whole number of accounts, 1 or more", _MOST_ACCOUNTS)
    within_ms = _read_minutes(table) if "within" in table else None
    return Storms(share or default.share, least or default.least, within_ms or default.within_ms)


def _read_minutes(table: Table) -> int | None:
    text = table.value("within")
    match = _MINUTES.fullmatch(text) if isinstance(text, str) else None
    if match is None or not 1 <= int(match["count"]) <= _MOST_MINUTES:
        table.wrong("within", f'minutes from "1m" to "{_MOST_MINUTES}m"')
        return None
    return int(match["count"]) * _MINUTE_MS


def read_alerts(root: Table, scores: Sequence[Score], names: Names) -> tuple[AlertRule, ...]:
    """The rules of a policy, sorted by name, without those that are wrong, which is recorded."""
    tables = root.names("alerts", "tables such as [alerts.sharp-drop]")
    if len(tables) > MOST_RULES:
        root.problem("alerts", f"must be at most {MOST_RULES} rules, not {len(tables)}")
    rules = [_Reader(tables, name, scores, names).read() for name in sorted(tables)]
    return tuple(rule for rule in rules if rule is not None)


class _Reader:
    """Reads one rule."""

    def __init__(self, tables: Table, name: str, scores: Sequence[Score], names: Names) -> None:
        self._name, self._scores, self._names = name, scores, names
        if not _RULE_NAME.fullmatch(name):
            tables.problem(name, "the name of a rule must consist of letters (a to z, A to Z), digits, - and _")
        elif name == _STORM:
            tables.problem(name, f"{shown(_STORM)} is the name of alerts about storms: choose another name")
        bare = tables.without_when(name, _KINDS, "the condition of a rule")
        self._table = None if bare else tables.table(name, "a table [alerts.NAME] with a when", _KEYS)

    def read(self) -> AlertRule | None:
        table = self._table
        if table is None:
            return None
        score, kind = self._score(table), _read_kind(table)
        severity = table.choice("severity", SEVERITIES) if "severity" in table else "warning"
        segments = table.texts("segments", ', such as ["enterprise"]')
        for name in segments:
            table.check_name("segments", name, self._names.segments, "a segment of this policy")
        owner, actions = table.text("owner", OWNER, required=False), table.texts("actions", ACTIONS)
        for_ms = SPANS.read_ms(table, "for", required=False)
        cooldown_ms = SPANS.read_ms(table, "cooldown", required=False)
        max_per_day = table.whole_number("max_per_day", _PER_DAY, _MOST_PER_DAY)
        condition = None if kind is None or score is None else self._condition(table, kind, score)
        if kind is None or score is None or condition is None:
            return None
        clear = _read_clear(table, kind, condition[0]) if "clear" in table else None
        if severity is None:
            return None
        return AlertRule(
            self._name,
            score.name,
            kind,
            severity,
            *condition,
            segments=tuple(sorted(set(segments))),
            owner=owner,
            actions=actions,
            for_ms=for_ms,
            cooldown_ms=cooldown_ms,
            clear=clear,
            max_per_day=max_per_day,
        )

    def _score(self, table: Table) -> Score | None:
        names = tuple(score.name for score in self._scores)
        if "score" not in table or not names:
            return self._scores[0] if names else None
        name = table.choice("score", names)
        return next((score for score in self._scores if score.name == name), None)

    def _condition(
        self, table: Table, kind: Kind, score: Score
    ) -> tuple[float | None, str | None, Window | None] | None:
        """Level, target and span of the condition; None if something is wrong, which is recorded."""
        keys = _CONDITIONS[kind]
        more = () if keys.level is None or keys.level[0] == kind else (keys.level[0],)
        when = table.table("when", _WHEN, (kind, *more, *(("within",) if keys.within else ())))
        assert when is not None, "a table, as its keys have been read"
        has_target = keys.level is None or bool(more)
        target = self._target(when, kind, score) if has_target else None
        level = None if keys.level is None else when.number(*keys.level)
        within = None if keys.within is None else keys.within.read(when, "within")
        complete = (target is not None) == has_target and (level is None) == (keys.level is None)
        return (level, target, within) if complete and (within is None) == (keys.within is None) else None

    def _target(self, when: Table, kind: Kind, score: Score) -> str | None:
        """The source, measure or band that a condition is about."""
        if kind == "silent":
            return when.choice(kind, self._names.sources)
        names = self._names.measures if kind == "measure" else tuple(band.name for band in score.bands)
        name = when.choice(kind, names) if names else None
        if kind == "measure" and name in self._names.pointless:
            when.problem(kind, f"{shown(name)} has no normalise, so it has no points: add one to the measure")
        if kind == "forecast" and name is not None and name == names[-1]:
            when.problem(kind, f"{shown(name)} is the highest band, so no score falls into it: name a lower one")
        return name


def _read_kind(table: Table) -> Kind | None:
    """The kind of condition that is written or was probably meant."""
    when = table.value("when")
    keys = when if isinstance(when, dict) else {}
    kinds = [kind for kind in _KINDS if kind in keys] or [kind for kind in _KINDS if kind in misspelled(keys, _KINDS)]
    if not kinds and "points_below" in keys:
        kinds = ["measure"]
    if not kinds:
        table.wrong("when", _WHEN)
    elif set(kinds) == {"below", "measure"}:
        table.problem("when", 'for the points of a measure write { measure = "…", points_below = … }')
    elif len(kinds) > 1:
        table.problem("when", f"a rule has one condition, and here are {listed(kinds)}: write a rule for each")
    else:
        return cast("Kind", kinds[0])
    return None


def _read_clear(table: Table, kind: Kind, level: float | None) -> float | None:
    if level is None:
        table.problem("clear", f"a condition of kind {shown(kind)} has no number for clear: remove clear")
        return None
    low = 0.0 if kind == "drop" else level
    high = {"drop": level, "measure": FULL_POINTS}.get(kind, math.inf)
    return table.number("clear", Number(_CONDITIONS[kind].clear.format(level=level), low, high))
