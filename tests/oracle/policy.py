"""The oracle's reading of a policy's text: measures, scores, segments, as plain data with exact fractions.

Owns a second reading of docs/reference/policy for what a policy says; validity is not checked (KeyError or ValueError
on nonsense). Must not know events, order or the product's own code. Called by `tests.oracle.engine` and the modules
beside it.
"""
# long because: all tables of a policy are read in one place, as plain data

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tests.oracle.counted_days import CountedWindow, counted_window
from tests.oracle.events import Fields, fields_of_table
from tests.oracle.formulas import names_in

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PANE_MS = {"h": HOUR_MS, "d": DAY_MS}
LONGEST_PANES = {HOUR_MS: 72, DAY_MS: 365}
FACTS = "accounts"
PERIOD_STATISTICS = ("active", "active_share", "streak")
OPEN_STATISTICS = ("open", "open_max_days", "open_mean_days")
WITHOUT_WINDOW = ("last", "days_to_first", *OPEN_STATISTICS)
"""Statistics that may have no window: events of any age count, but not one that arrives more than a year late."""
COUNTED_AT_ONCE = ("percentile", *PERIOD_STATISTICS, *WITHOUT_WINDOW)
"""Statistics that have no choice: the current pane counts."""
BILLIONTH = Fraction(1, 10**9)
"""Scores are compared with bands as rounded to nine decimals."""


def panes_of(length: str) -> int:
    """Return the number of panes in a length such as `30d`, or of business days in one such as `3bd`."""
    return int(length.rstrip("hbd"))


def length_ms(length: str) -> int:
    """Return the milliseconds in a length such as `6h` or `30d`."""
    return panes_of(length) * PANE_MS[length[-1]]


@dataclass(frozen=True)
class Measure:
    """A measure as its table says; `settings` is that table, its decimals as fractions.

    A fact of the profile has no window: 0 panes, of a day. `weight` is None when the table has none.
    """

    name: str
    source: str
    stat: str
    panes: int
    pane_ms: int
    weight: Fraction | None
    settings: dict[str, Any]
    days: CountedWindow | None = None
    """Its window, if it is in business days or months; `panes` are then the most days that it can reach back."""

    @property
    def expression(self) -> str | None:
        """The arithmetic over other measures that gives its value; None for a measure of events or of the profile."""
        text: str | None = self.settings.get("value")
        return text

    @property
    def is_fact(self) -> bool:
        """Whether it reads the profile, and no events."""
        return self.source == FACTS

    @property
    def windows_before(self) -> int:
        """How many earlier windows of the same length it is compared with."""
        compare = self.settings.get("compare")
        if compare is None:
            return 0
        return 1 if compare == "previous" else panes_of(self.settings["history"]) // self.panes

    @property
    def stale_panes(self) -> int | None:
        """Panes up to `as_of` among which a held value may lie; None when nothing is held."""
        if self.settings.get("missing") != "hold":
            return None
        stale_after = self.settings.get("stale_after")
        return LONGEST_PANES[self.pane_ms] if stale_after is None else panes_of(stale_after)

    @property
    def reach(self) -> int:
        """Panes up to `as_of` in which an event can have a part in the value, if it is not there already."""
        if self.stat in WITHOUT_WINDOW and not self.panes:
            return LONGEST_PANES[DAY_MS]
        spare_panes = (7 if self.settings.get("per") == "week" else 1) if self.stat in PERIOD_STATISTICS else 0
        spare_panes += 0 if self.unfinished == "counts" else 1
        return max(self.panes * (1 + self.windows_before) + spare_panes, self.stale_panes or 0)

    @property
    def unfinished(self) -> str:
        """What the pane of the moment does: it `counts`, is left `out`, or `replaces` the oldest when it has more."""
        if self.is_fact or self.stat in COUNTED_AT_ONCE or self.settings.get("complete") is False:
            return "counts"
        compare = self.settings.get("compare")
        if self.stat.startswith("distinct"):
            return "replaces" if compare == "peers" or self.settings.get("complete") == "at-least" else "counts"
        if compare is not None or self.stat == "rate":
            return "out"
        return {None: "counts", True: "out", "at-least": "replaces"}[self.settings.get("complete")]

    def normaliser(self, segment: str | None) -> dict[str, Any] | None:
        """Return the rule that gives points in a segment; None when only additive scores use the measure."""
        other = self.settings.get("segments", {}).get(segment, {})
        rule: dict[str, Any] | None = other.get("normalise", self.settings.get("normalise"))
        return rule


def _number_of_profile(name: str) -> Measure:
    """Return what `account.NAME`, `days_since(account.NAME)` or `days_until(account.NAME)` reads, as a measure."""
    stat, _, path = name.rstrip(")").rpartition("(")
    path = {"account.days_since_start": "account.started_at", "account.days_to_renewal": "account.renewal_at"}.get(
        path, path
    )
    if name in ("account.days_since_start", "account.days_to_renewal"):
        stat = "days_since" if "since" in name else "days_until"
    known = ("arr", "started_at", "renewal_at")
    field = path.removeprefix("account.") if path.removeprefix("account.") in known else path
    settings = {"stat": stat or "value", "field": field}
    return Measure(name, FACTS, settings["stat"], 0, DAY_MS, None, settings)


@dataclass(frozen=True)
class Band:
    """A band; `alert` is the severity that entering it fires, or None.

    Who holds to it, or to a higher one, is in it from `leave` on: `lowest` when the policy says nothing. `is_above`
    says that the file names a number that it is above.
    """

    name: str
    lowest: Fraction
    alert: str | None
    leave: Fraction
    is_above: bool = False


@dataclass(frozen=True)
class Group:
    """Measures that share one weight: `weights` are those within the group."""

    weight: Fraction
    weights: dict[str, Fraction]


@dataclass(frozen=True)
class Limit:
    """An exception: what a measure whose points are below `points_below` leaves of the score."""

    measure: str
    points_below: Fraction
    cap: Fraction | None
    band: str | None


@dataclass(frozen=True)
class Score:
    """What a score is made of: `groups` of measures when it is weighted, `impacts` when it is additive.

    A weighted score without groups is one with a single group. `line` is (zero_at, hundred_at) of an additive score's
    map. `may_except` says that the score has exceptions, in some segment at least. `dwell_ms` is 0 without dwell.
    """

    name: str
    bands: tuple[Band, ...]
    additive: bool
    groups: tuple[Group, ...]
    impacts: dict[str, Fraction]
    line: tuple[Fraction, Fraction] | None
    exceptions: tuple[Limit, ...]
    may_except: bool
    dwell_ms: int

    @property
    def is_bounded(self) -> bool:
        """Whether it never leaves 0 to 100."""
        return not self.additive or self.line is not None


@dataclass(frozen=True)
class Segment:
    """A segment of accounts and what their profile must say to be in it."""

    name: str
    when: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Policy:
    """Measures, segments and scores in the file's order; `tables` are the scores as the file says them.

    `alerts` are the rules as the file says them; `stall_after_ms` is how long a source may be silent, by source.
    `new_days` is how many UTC days an account is new, None when none is. `status` and `calendar` are these tables as
    the file says them. `added` has the fields of the sources that the policy adds, by source.
    """

    measures: tuple[Measure, ...]
    segments: tuple[Segment, ...]
    tables: dict[str, dict[str, Any]]
    alerts: dict[str, dict[str, Any]]
    stall_after_ms: dict[str, int]
    new_days: int | None = None
    status: dict[str, Any] = field(default_factory=dict)
    calendar: dict[str, Any] = field(default_factory=dict)
    added: dict[str, Fields] = field(default_factory=dict)

    @property
    def dormant_days(self) -> int:
        """UTC days without an event after which an account has no data.

        By default a week more than the shortest span of a measure, at least 35, at most the longest reach.
        """
        if "dormant_after" in self.status:
            return panes_of(self.status["dormant_after"])
        longest = max(
            self.reach(measure) if measure.pane_ms == DAY_MS else self.reach(measure) * HOUR_MS // DAY_MS + 1
            for measure in self.event_measures
        )
        spans_ms = (
            (measure.stale_panes or measure.panes or LONGEST_PANES[DAY_MS]) * measure.pane_ms
            for measure in self.event_measures
        )
        return min(longest, max(35, -(-min(spans_ms) // DAY_MS) + 7))

    @property
    def ended_by(self) -> list[tuple[str, dict[str, list[str]]]]:
        """The source and the filter of the events that end an account."""
        usual = [{"source": "billing", "where": {"kind": ["cancelled"]}}]
        return [(table["source"], table.get("where", {})) for table in self.status.get("ended_by", usual)]

    @property
    def band_names(self) -> list[str]:
        """The names of the bands of all scores: those that an override may have."""
        return [band["name"] for table in self.tables.values() for band in table["bands"]]

    @property
    def event_measures(self) -> tuple[Measure, ...]:
        """The measures that read events."""
        return tuple(measure for measure in self.measures if not measure.is_fact and measure.expression is None)

    def measure(self, name: str) -> Measure:
        """Return a measure by its name, or a number of the profile such as `account.NAME`."""
        known = {measure.name: measure for measure in self.measures}
        return known[name] if name in known else _number_of_profile(name)

    @property
    def looked_back(self) -> set[str]:
        """The measures that an expression reads over the window before theirs, too."""
        names: set[str] = set()
        waiting = [measure for measure in self.measures if measure.expression and "compare" in measure.settings]
        while waiting:
            for name in names_in(waiting.pop().expression or ""):
                names.add(name)
                waiting += [self.measure(name)] if self.measure(name).expression else []
        return names

    def reach(self, measure: Measure) -> int:
        """Panes up to `as_of` in which an event can have a part in the value of some measure that reads it."""
        return max(measure.reach, 2 * measure.panes + 1 if measure.name in self.looked_back else 0)

    @property
    def holds_bands(self) -> bool:
        """Whether some score's band depends on the band held before."""
        return any(
            "dwell" in table or any("leave" in band for band in table["bands"]) for table in self.tables.values()
        )

    def scores_in(self, segment: str | None) -> list[Score]:
        """Return the scores as they are for accounts of a segment (None: of no segment)."""
        return _scores_in(self, segment)


@lru_cache(maxsize=16)  # an oracle that tries changes asks for its policy thousands of times
def read_policy(policy_text: str) -> Policy:
    """Return the policy of a valid TOML text."""
    document = tomllib.loads(policy_text, parse_float=Fraction)
    segments = [Segment(name, table["when"]) for name, table in document.get("segments", {}).items()]
    calendar = document.get("calendar", {})
    measures = [_measure(name, table, calendar) for name, table in document["measures"].items()]
    idle_sources = {
        name: length_ms(table["stall_after"])
        for name, table in document.get("sources", {}).items()
        if "stall_after" in table
    }
    new_days = panes_of(document["new_accounts"]["min_age"]) if "new_accounts" in document else None
    alerts = document.get("alerts", {})
    return Policy(
        tuple(measures),
        tuple(segments),
        document["scores"],
        alerts,
        idle_sources,
        new_days,
        document.get("status", {}),
        document.get("calendar", {}),
        {name: fields_of_table(table) for name, table in document.get("sources", {}).items() if "fields" in table},
    )


def _measure(name: str, table: dict[str, Any], calendar: dict[str, Any]) -> Measure:
    weight = None if "weight" not in table else Fraction(table["weight"])
    if "value" in table:
        return Measure(name, "", "", 0, DAY_MS, weight, table)
    if table["source"] == FACTS or "window" not in table:
        return Measure(name, table["source"], table["stat"], 0, DAY_MS, weight, table)
    window = table["window"]
    if (days := counted_window(window, calendar)) is not None:
        return Measure(name, table["source"], table["stat"], days.most_days(), DAY_MS, weight, table, days)
    return Measure(name, table["source"], table["stat"], panes_of(window), PANE_MS[window[-1]], weight, table)


def boundary_unit_ms(policy: Policy) -> int:
    """Milliseconds between two boundaries: an hour when a measure or an alert rule has an hour window, else a day."""
    within = [rule["when"]["within"] for rule in policy.alerts.values() if "within" in rule["when"]]
    return min([measure.pane_ms for measure in policy.measures] + [PANE_MS[length[-1]] for length in within])


def is_late(time_ms: int, newest_ms: int, policy: Policy) -> bool:
    """Say whether an event is out of every measure's reach, counted back from the newest event's pane."""
    return all(
        time_ms // measure.pane_ms <= newest_ms // measure.pane_ms - policy.reach(measure)
        for measure in policy.event_measures
    )


def _fractions(table: dict[str, Any]) -> dict[str, Fraction]:
    return {name: Fraction(number) for name, number in table.items()}


def _limit(table: dict[str, Any]) -> Limit:
    cap = None if "cap" not in table else Fraction(table["cap"])
    return Limit(table["measure"], Fraction(table["points_below"]), cap, table.get("band"))


def _lowest(table: dict[str, Any]) -> Fraction:
    """Return the smallest score of a band; one that is above a number begins a billionth after it."""
    return Fraction(table["above"]) + BILLIONTH if "above" in table else Fraction(table["from"])


def _band(table: dict[str, Any]) -> Band:
    lowest = _lowest(table)
    return Band(table["name"], lowest, table.get("alert"), Fraction(table.get("leave", lowest)), "above" in table)


def _moved(band: Band, lowest: Fraction, *, bounded: bool) -> Band:
    """Return the band with another start: `leave` keeps its distance, but is not below 0 for a bounded score."""
    leave = lowest - (band.lowest - band.leave)
    return replace(band, lowest=lowest, leave=max(leave, Fraction(0)) if bounded else leave)


def _groups(policy: Policy, table: dict[str, Any]) -> tuple[Group, ...]:
    if "groups" in table:
        groups = table["groups"].values()
        return tuple(Group(Fraction(group["weight"]), _fractions(group["measures"])) for group in groups)
    if "weights" in table:
        return (Group(Fraction(1), _fractions(table["weights"])),)
    return (
        Group(Fraction(1), {measure.name: measure.weight for measure in policy.measures if measure.weight is not None}),
    )


def _plain(policy: Policy, name: str) -> Score:
    """Return a score as its own table says it, without segments."""
    table = policy.tables[name]
    dwell = table.get("dwell", "0h")
    additive = table.get("model") == "additive"
    line = (Fraction(table["map"]["zero_at"]), Fraction(table["map"]["hundred_at"])) if "map" in table else None
    exceptions = tuple(_limit(exception) for exception in table.get("exceptions", ()))
    used = [other["use"] for other in table.get("segments", {}).values() if "use" in other]
    return Score(
        name,
        tuple(_band(band) for band in table["bands"]),
        additive,
        () if additive else _groups(policy, table),
        _fractions(table["impacts"]) if additive else {},
        line,
        exceptions,
        any(policy.tables[score].get("exceptions") for score in (name, *used)),
        length_ms(dwell),
    )


@lru_cache(maxsize=16)
def _scores_in(policy: Policy, segment: str | None) -> list[Score]:
    return [_score_in(policy, name, segment) for name in policy.tables]


def _score_in(policy: Policy, name: str, segment: str | None) -> Score:
    score = _plain(policy, name)
    other = policy.tables[name].get("segments", {}).get(segment, {})
    if "use" in other:
        used = _plain(policy, other["use"])
        score = replace(score, groups=used.groups, impacts=used.impacts, exceptions=used.exceptions)
    if "weights" in other or "groups" in other:
        score = replace(score, groups=_groups(policy, other))
    if "impacts" in other:
        score = replace(score, impacts=_fractions(other["impacts"]))
    starts = other.get("bands", {})
    bands = [
        _moved(band, Fraction(starts[band.name]) + (BILLIONTH if band.is_above else 0), bounded=score.is_bounded)
        if band.name in starts
        else band
        for band in score.bands
    ]
    return replace(score, bands=tuple(bands))
