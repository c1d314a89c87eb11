"""The oracle: outcomes, scores and alert episodes of a whole log, computed from scratch, slowly and exactly.

Owns a second reading of docs/POLICIES.md, to judge the engine by: integers of milliseconds, integers of millionths and
fractions; a float only where a result leaves. It keeps no state from one answer to the next.
Must not know the product's own code: it imports nothing from `schemas`, `stream` or `agents`.
Called by the tests, with the full log of every input topic.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from tests.oracle_events import ACCOUNTS, MILLION, Event, Record, RejectedError, read_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = [
    "AccountScore",
    "Record",
    "band_episodes",
    "border_scores",
    "final_scores",
    "merged",
    "outcomes",
    "points_of",
]

Outcome = Literal["applied", "late", "rejected", "duplicate"]
Status = Literal["firing", "resolved"]
Factor = tuple[str, float | None, float | None, float]
Borders = dict[tuple[int, int], dict[str, "AccountScore"]]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
INBOX = "vitals-inbox"
SOURCE_ORDER = ("product-usage", "support-tickets", "surveys", "billing", "engagement", ACCOUNTS, INBOX)


@dataclass(frozen=True)
class Measure:
    """A measure as its table says; `settings` is that table, its decimals as fractions."""

    name: str
    source: str
    stat: str
    panes: int
    pane_ms: int
    weight: Fraction
    settings: dict[str, Any]

    @property
    def reach(self) -> int:
        """Panes that events count in: its own, and as many before where it is compared with those."""
        return self.panes * (2 if "compare" in self.settings else 1)


@dataclass(frozen=True)
class Band:
    """A band; `alert` is the severity that entering it fires, or None."""

    name: str
    lowest: Fraction
    alert: str | None


@dataclass(frozen=True)
class Policy:
    """Measures in the file's order, and bands."""

    measures: tuple[Measure, ...]
    bands: tuple[Band, ...]


def read_policy(policy_text: str) -> Policy:
    """Return the policy of a valid TOML text; validity is not checked here (KeyError or ValueError on nonsense)."""
    document = tomllib.loads(policy_text, parse_float=Fraction)
    measures = []
    for name, table in document["measures"].items():
        window = table["window"]
        pane_ms = {"h": HOUR_MS, "d": DAY_MS}[window[-1]]
        weight = Fraction(table["weight"])
        measures.append(Measure(name, table["source"], table["stat"], int(window[:-1]), pane_ms, weight, table))
    (score,) = document["scores"].values()
    bands = [Band(band["name"], Fraction(band["from"]), band.get("alert")) for band in score["bands"]]
    return Policy(tuple(measures), tuple(bands))


def border_unit_ms(policy: Policy) -> int:
    """Milliseconds between two borders: an hour when any measure has an hour window, else a day."""
    return min(measure.pane_ms for measure in policy.measures)


def is_late(time_ms: int, newest_ms: int, policy: Policy) -> bool:
    """Say whether an event is outside every measure's window, counted back from the newest event's pane."""
    return all(
        time_ms // measure.pane_ms <= newest_ms // measure.pane_ms - measure.reach for measure in policy.measures
    )


@dataclass(frozen=True)
class AccountScore:
    """A score, its band, and its factors (measure, value, points, contribution) in the policy's order.

    `alert` is the severity the band fires with, or None. A measure whose weight is shared among the others has no
    value, no points and contribution 0.
    """

    value: float
    band: str
    factors: list[Factor]
    alert: str | None = None


def _time_ms(event: Event) -> int:
    return event.time_ms


def _passes(event: Event, condition: dict[str, list[str]]) -> bool:
    return all(event.texts.get(field) in values for field, values in condition.items())


def _numbers(measure: Measure, events: Sequence[Event]) -> list[int]:
    field = measure.settings["field"]
    return [event.numbers[field] for event in events if field in event.numbers]


def _total(measure: Measure, events: Sequence[Event]) -> Fraction:
    return Fraction(sum(_numbers(measure, events)), MILLION)


def _count(measure: Measure, events: Sequence[Event]) -> Fraction:
    return _total(measure, events) if "field" in measure.settings else Fraction(len(events))


def _rate(measure: Measure, events: Sequence[Event]) -> Fraction:
    per_ms = {"hour": HOUR_MS, "day": DAY_MS, "week": 7 * DAY_MS}[measure.settings.get("per", "day")]
    return _count(measure, events) / Fraction(measure.panes * measure.pane_ms, per_ms)


def _mean(measure: Measure, events: Sequence[Event]) -> Fraction | None:
    numbers = _numbers(measure, events)
    return Fraction(sum(numbers), MILLION * len(numbers)) if numbers else None


def _least(measure: Measure, events: Sequence[Event]) -> Fraction | None:
    numbers = _numbers(measure, events)
    return Fraction(min(numbers), MILLION) if numbers else None


def _greatest(measure: Measure, events: Sequence[Event]) -> Fraction | None:
    numbers = _numbers(measure, events)
    return Fraction(max(numbers), MILLION) if numbers else None


def _last(measure: Measure, events: Sequence[Event]) -> Fraction | None:
    field = measure.settings["field"]
    timed = [(event.time_ms, event.numbers[field]) for event in events if field in event.numbers]
    return Fraction(max(timed)[1], MILLION) if timed else None


def _distinct(field: str, events: Sequence[Event]) -> Fraction:
    return Fraction(len({event.texts[field] for event in events if field in event.texts}))


def _share(measure: Measure, events: Sequence[Event]) -> Fraction | None:
    named = [event for event in events if _passes(event, measure.settings["of"])]
    return Fraction(len(named), len(events)) if events else None


def _weighted_count(measure: Measure, events: Sequence[Event]) -> Fraction:
    total_millionths = 0
    for field, weight_by_value in measure.settings["weights"].items():
        for event in events:
            total_millionths += round(weight_by_value.get(event.texts.get(field), 0) * MILLION)
    return Fraction(total_millionths, MILLION)


STATISTICS: dict[str, Callable[[Measure, Sequence[Event]], Fraction | None]] = {
    "count": _count,
    "sum": _total,
    "mean": _mean,
    "min": _least,
    "max": _greatest,
    "last": _last,
    "distinct_users": lambda _, events: _distinct("user_id", events),
    "distinct_features": lambda _, events: _distinct("feature", events),
    "rate": _rate,
    "share": _share,
    "weighted_count": _weighted_count,
}


def _counted(measure: Measure, events: Sequence[Event], first_ms: int, last_ms: int) -> list[Event]:
    """Return the measure's events of a span, both ends in it."""
    span = events[bisect_left(events, first_ms, key=_time_ms) : bisect_right(events, last_ms, key=_time_ms)]
    condition = measure.settings.get("where", {})
    return [event for event in span if event.source == measure.source and _passes(event, condition)]


def measure_value(measure: Measure, events: Sequence[Event], as_of_ms: int) -> Fraction | None:
    """Return a measure's value; None when it is missing. `events` are one account's, sorted by time."""
    window_starts_ms = (as_of_ms // measure.pane_ms - measure.panes + 1) * measure.pane_ms
    if "compare" in measure.settings:
        before_starts_ms = window_starts_ms - measure.panes * measure.pane_ms
        now = STATISTICS[measure.stat](measure, _counted(measure, events, window_starts_ms, as_of_ms))
        before = STATISTICS[measure.stat](measure, _counted(measure, events, before_starts_ms, window_starts_ms - 1))
        assert now is not None
        assert before is not None
        return (now - before) / before * 100 if before > 0 else None
    counted = _counted(measure, events, window_starts_ms, as_of_ms)
    if measure.stat == "days_since_last":
        return Fraction(as_of_ms // DAY_MS - counted[-1].time_ms // DAY_MS) if counted else None
    return STATISTICS[measure.stat](measure, counted)


def points_of(value: Fraction, rule: dict[str, Any]) -> Fraction:
    """Return the points, 0 to 100, that the normaliser `rule` gives to a value."""
    if rule["kind"] == "linear":
        points: Fraction = 100 * (value - rule["zero_at"]) / Fraction(rule["hundred_at"] - rule["zero_at"])
        return min(max(points, Fraction(0)), Fraction(100))
    if rule["kind"] == "tiers":
        reached = [tier for tier in rule["tiers"] if tier["from"] <= value]
        return Fraction((reached or rule["tiers"][:1])[-1]["points"])
    good, average, poor = rule.get("points", [100, 50, 0])
    # A descending scale is the ascending one seen in a mirror.
    side = 1 if rule["good"] > rule["average"] else -1
    if side * value >= side * rule["good"]:
        return Fraction(good)
    return Fraction(average if side * value >= side * rule["average"] else poor)


def score_account(events: Sequence[Event], policy: Policy, as_of_ms: int) -> AccountScore:
    """Score one account at a moment. `events` are its own, sorted by time; those after the moment do not count."""
    rated: list[tuple[Measure, Fraction | None, Fraction | None]] = []
    for measure in policy.measures:
        value = measure_value(measure, events, as_of_ms)
        missing = measure.settings.get("missing", "redistribute")
        if value is not None:
            rated.append((measure, value, points_of(value, measure.settings["normalise"])))
        else:
            rated.append((measure, None, None if missing == "redistribute" else Fraction(missing)))
    weights = sum((measure.weight for measure, _, points in rated if points is not None), Fraction(0))
    total = Fraction(0)
    factors: list[Factor] = []
    for measure, value, points in rated:
        contribution = measure.weight * points / weights if points is not None and weights else Fraction(0)
        total += contribution
        factors.append((measure.name, _float(value), _float(points), float(contribution)))
    band = max((band for band in policy.bands if band.lowest <= total), key=lambda band: band.lowest)
    return AccountScore(float(total), band.name, factors, band.alert)


def _float(number: Fraction | None) -> float | None:
    return None if number is None else float(number)


def merged(log: Iterable[Record]) -> dict[int, list[Record]]:
    """Return the records of each partition number in the order in which its sources advance together.

    That order is by the source partition's newest record timestamp so far, then by source, then by offset.
    """
    newest: dict[tuple[int, str], int] = {}
    keyed: dict[int, list[tuple[int, int, int, Record]]] = {}
    for record in sorted(log, key=lambda record: record.offset):
        stream = (record.partition, record.source)
        newest[stream] = max(newest.get(stream, record.timestamp_ms), record.timestamp_ms)
        place = (newest[stream], SOURCE_ORDER.index(record.source), record.offset, record)
        keyed.setdefault(record.partition, []).append(place)
    return {partition: [place[3] for place in sorted(places)] for partition, places in sorted(keyed.items())}


def _judge(
    records: Iterable[Record], policy: Policy, now_ms: int
) -> Iterator[tuple[Record, Outcome, Event | None, int | None]]:
    """Yield each record of one partition with its outcome, its event and the newest event time so far.

    A record is judged in this order: rejected, duplicate, late, applied.
    """
    seen: set[tuple[str, str]] = set()
    newest_ms: int | None = None
    for record in records:
        source = record.origin if record.source == INBOX else record.source
        if source is None:
            raise ValueError(f"the record at offset {record.offset} of {INBOX} names no origin")
        if source == ACCOUNTS and record.value is None and record.key:
            yield record, "applied", None, newest_ms
            continue
        try:
            event = read_event(source, record.value, now_ms)
        except RejectedError:
            yield record, "rejected", None, newest_ms
            continue
        if source == ACCOUNTS:
            yield record, "applied", None, newest_ms
            continue
        if (source, event.event_id) in seen:
            yield record, "duplicate", None, newest_ms
            continue
        seen.add((source, event.event_id))
        newest_ms = event.time_ms if newest_ms is None else max(newest_ms, event.time_ms)
        outcome: Outcome = "late" if is_late(event.time_ms, newest_ms, policy) else "applied"
        yield record, outcome, event if outcome == "applied" else None, newest_ms


def outcomes(log: Iterable[Record], policy_text: str, now_ms: int) -> Counter[tuple[str, Outcome]]:
    """Count the records of the log by (topic they were read from, outcome). A profile is applied or rejected."""
    policy = read_policy(policy_text)
    return Counter(
        (record.source, outcome)
        for records in merged(log).values()
        for record, outcome, _, _ in _judge(records, policy, now_ms)
    )


def final_scores(
    log: Iterable[Record], policy_text: str, now_ms: int, as_of_ms: int | None = None
) -> dict[str, AccountScore]:
    """Return the score of every account after the whole log.

    `as_of_ms` None means the newest event time of the account's partition. An account is known from its first applied
    event that is not after `as_of_ms`. Raises ValueError when one account's events lie in two partitions.
    """
    policy = read_policy(policy_text)
    scores: dict[str, AccountScore] = {}
    for partition, records in merged(log).items():
        events_by_account: dict[str, list[Event]] = {}
        moment_ms = as_of_ms
        for _, _, event, newest_ms in _judge(records, policy, now_ms):
            if as_of_ms is None:
                moment_ms = newest_ms
            if event is not None:
                events_by_account.setdefault(event.account_id, []).append(event)
        for account_id, events in events_by_account.items():
            if account_id in scores:
                raise ValueError(f"account {account_id!r} has events in partition {partition} and in an earlier one")
            if moment_ms is not None and any(event.time_ms <= moment_ms for event in events):
                scores[account_id] = score_account(sorted(events, key=_time_ms), policy, moment_ms)
    return scores


def border_scores(log: Iterable[Record], policy_text: str, now_ms: int) -> Borders:
    """Return every account's score at every border crossed between a partition's first and last event.

    Keys are (partition, border in epoch ms). The score at a border is that of the log up to the last record at which
    the newest event time had not passed the border.
    """
    policy = read_policy(policy_text)
    unit_ms = border_unit_ms(policy)
    scores: Borders = {}
    for partition, records in merged(log).items():
        steps = [
            (-(-newest_ms // unit_ms), event)
            for _, _, event, newest_ms in _judge(records, policy, now_ms)
            if event is not None and newest_ms is not None
        ]
        if not steps:
            continue
        events_by_account: dict[str, list[Event]] = {}
        taken = 0
        for border in range(steps[0][0], steps[-1][0]):
            while steps[taken][0] <= border:
                event = steps[taken][1]
                insort(events_by_account.setdefault(event.account_id, []), event, key=_time_ms)
                taken += 1
            scores[partition, border * unit_ms] = {
                account_id: score_account(events, policy, border * unit_ms)
                for account_id, events in events_by_account.items()
            }
    return scores


def band_episodes(borders: Borders) -> list[tuple[str, str, Status, int]]:
    """Return the alert transitions that the borders show: (account, rule, status, border in epoch ms), in time order.

    A band with an `alert` fires at the first border that finds the account in it, and resolves at the next one that
    does not. At one border an account's old band resolves before its new band fires.
    """
    firing: dict[str, str] = {}
    transitions: list[tuple[str, str, Status, int]] = []
    for (_, border_ms), scores in sorted(borders.items(), key=lambda item: (item[0][1], item[0][0])):
        for account_id, score in sorted(scores.items()):
            rule = f"band:health:{score.band}" if score.alert is not None else None
            fired = firing.get(account_id)
            if rule == fired:
                continue
            if fired is not None:
                transitions.append((account_id, fired, "resolved", border_ms))
                del firing[account_id]
            if rule is not None:
                transitions.append((account_id, rule, "firing", border_ms))
                firing[account_id] = rule
    return transitions
