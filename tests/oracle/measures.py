"""The oracle's measures: values from events and profiles, and points from values, as exact fractions.

Owns a second reading of docs/reference/policy/measures.md for statistics, comparisons, what is held, facts and
normalisers. Must not know scores, order or the product's own code. Called by `tests.oracle.scores`.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tests.oracle.counted import counted, passes
from tests.oracle.events import MILLION, Event
from tests.oracle.policy import DAY_MS, HOUR_MS, OPEN_STATISTICS, PERIOD_STATISTICS, Measure
from tests.oracle.profiles import as_day, as_number
from tests.oracle.things import days_to_first, open_things

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _numbers(measure: Measure, events: Sequence[Event]) -> list[int]:
    field = measure.settings["field"]
    return [event.numbers[field] for event in events if field in event.numbers]


def _total(measure: Measure, events: Sequence[Event]) -> Fraction:
    return Fraction(sum(_numbers(measure, events)), MILLION)


def _count(measure: Measure, events: Sequence[Event]) -> Fraction:
    return _total(measure, events) if "field" in measure.settings else Fraction(len(events))


def _rate(measure: Measure, events: Sequence[Event]) -> Fraction:
    days = measure.days  # a week has as many business days as weekdays of the calendar
    week = 7 if days is None or days.in_months else len(days.weekdays)
    per_ms = {"hour": HOUR_MS, "day": DAY_MS, "week": week * DAY_MS}[measure.settings.get("per", "day")]
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
    if "weights" in measure.settings:
        return _last_text(measure, events)
    field = measure.settings["field"]
    timed = [(event.time_ms, event.numbers[field]) for event in events if field in event.numbers]
    return Fraction(max(timed)[1], MILLION) if timed else None


def _last_text(measure: Measure, events: Sequence[Event]) -> Fraction | None:
    """Return what the text of the latest event counts; None for a text that is not listed, which loses a tie."""
    ((field, weights),) = measure.settings["weights"].items()
    known = [event for event in events if field in event.texts]
    latest = [event.texts[field] for event in known if event.time_ms == known[-1].time_ms]
    return max((Fraction(weights[text]) for text in latest if text in weights), default=None)


def _distinct(field: str, events: Sequence[Event]) -> Fraction:
    names = {event.texts[field].strip() for event in events if field in event.texts}
    return Fraction(len(names - {""}))


def _share(measure: Measure, events: Sequence[Event]) -> Fraction | None:
    named = [event for event in events if passes(event, measure.settings["of"])]
    return Fraction(len(named), len(events)) if events else None


def _weighted_count(measure: Measure, events: Sequence[Event]) -> Fraction:
    total_millionths = 0
    for field, weight_by_value in measure.settings["weights"].items():
        for event in events:
            total_millionths += round(weight_by_value.get(event.texts.get(field), 0) * MILLION)
    return Fraction(total_millionths, MILLION)


def _nps(measure: Measure, events: Sequence[Event]) -> Fraction | None:
    numbers = _numbers(measure, events)
    net = sum(1 if number >= 9 * MILLION else -1 if number < 7 * MILLION else 0 for number in numbers)
    return Fraction(100 * net, len(numbers)) if numbers else None


def _percentile(measure: Measure, events: Sequence[Event]) -> Fraction | None:
    """Return the value of the bucket that has the percentile: a tenth, and on by 21/19 from bucket to bucket."""
    numbers = sorted(_numbers(measure, events))
    if not numbers:
        return None
    rank = -(-len(numbers) * measure.settings["percent"] // 100)
    number, lowest = Fraction(numbers[rank - 1], MILLION), Fraction(1, 10)
    if number < lowest:
        return Fraction(0)
    while number >= lowest * 21 / 19:
        lowest = lowest * 21 / 19
    return lowest * 21 / 20


STATISTICS: dict[str, Callable[[Measure, Sequence[Event]], Fraction | None]] = {
    "count": _count,
    "sum": _total,
    "mean": _mean,
    "min": _least,
    "max": _greatest,
    "last": _last,
    "distinct_users": lambda _, events: _distinct("user_id", events),
    "distinct_features": lambda _, events: _distinct("feature", events),
    "distinct_roles": lambda _, events: _distinct("role", events),
    "distinct": lambda measure, events: _distinct(measure.settings["field"], events),
    "nps": _nps,
    "percentile": _percentile,
    "rate": _rate,
    "share": _share,
    "weighted_count": _weighted_count,
}


def measure_value(
    measure: Measure, events: Sequence[Event], as_of_ms: int, profile: Event | None = None
) -> Fraction | None:
    """Return a measure's value; None when it is missing.

    `events` are one account's, sorted by time; `profile` is what holds of it.
    """
    if measure.is_fact:
        return _fact(measure, profile, as_of_ms)
    if measure.stat in OTHERS:
        return OTHERS[measure.stat](measure, events, as_of_ms, profile)
    return _of_window(measure, events, as_of_ms)


def _of_window(measure: Measure, events: Sequence[Event], as_of_ms: int) -> Fraction | None:
    if measure.days is not None:
        now = _of_days(measure, events, as_of_ms, 0)
        if not measure.windows_before:
            return now
        before = _of_days(measure, events, as_of_ms, 1)
        assert now is not None
        assert before is not None
        return (now - before) / before * 100 if before > 0 else None
    current_ms = as_of_ms // measure.pane_ms * measure.pane_ms
    first_ms = current_ms - measure.panes * measure.pane_ms
    if measure.unfinished == "counts":
        first_ms += measure.pane_ms
    if not measure.panes:
        first_ms = 0
    if measure.stat == "days_since_last":
        return _days_since_last(measure, events, first_ms, as_of_ms)
    if measure.unfinished == "replaces":
        return _with_replaced_pane(measure, events, first_ms, as_of_ms)
    last_ms = current_ms - 1 if measure.unfinished == "out" else as_of_ms
    if measure.windows_before:
        return _compared(measure, events, first_ms, last_ms)
    value = STATISTICS[measure.stat](measure, counted(measure, events, first_ms, last_ms))
    return _held(measure, events, first_ms, as_of_ms) if value is None else value


def _of_days(measure: Measure, events: Sequence[Event], as_of_ms: int, before: int) -> Fraction | None:
    """Return the statistic over the days of a window in business days or months, or of the window before it."""
    assert measure.days is not None
    complete = measure.unfinished == "out" or before > 0
    days = measure.days.days(as_of_ms // DAY_MS, complete=complete, before=before)
    known = [event for event in counted(measure, events, 0, as_of_ms) if event.time_ms // DAY_MS in days]
    return STATISTICS[measure.stat](replace(measure, panes=len(days)), known)


def _days_since_last(measure: Measure, events: Sequence[Event], first_ms: int, as_of_ms: int) -> Fraction | None:
    """Return the days since the latest event; where days must be complete, those that lie between it and today."""
    known = counted(measure, events, first_ms, as_of_ms)
    if not known:
        return None
    days = as_of_ms // DAY_MS - known[-1].time_ms // DAY_MS
    return Fraction(days if measure.unfinished == "counts" or not days else days - 1)


def _with_replaced_pane(measure: Measure, events: Sequence[Event], first_ms: int, as_of_ms: int) -> Fraction | None:
    """Return the larger of two windows: the complete one, and the one that ends now. A distinct value is in either."""
    current_ms = as_of_ms // measure.pane_ms * measure.pane_ms
    if measure.stat.startswith("distinct"):
        return STATISTICS[measure.stat](measure, counted(measure, events, first_ms, as_of_ms))
    complete = STATISTICS[measure.stat](measure, counted(measure, events, first_ms, current_ms - 1))
    until_now = STATISTICS[measure.stat](measure, counted(measure, events, first_ms + measure.pane_ms, as_of_ms))
    assert complete is not None
    assert until_now is not None
    return max(complete, until_now)


def _activity(measure: Measure, events: Sequence[Event], as_of_ms: int) -> Fraction:
    """Return how many periods have events, as the statistic says, or their share.

    Periods are numbered from the first Thursday of 1970 or the first Monday before it. The last one counts from its
    first event on; until then the periods end with the one before it.
    """
    weekly = measure.settings.get("per") == "week"

    def period(time_ms: int) -> int:
        return (time_ms // DAY_MS + 3) // 7 if weekly else time_ms // DAY_MS

    active = {period(event.time_ms) for event in counted(measure, events, 0, as_of_ms)}
    length = measure.panes // 7 if weekly else measure.panes
    last = period(as_of_ms) if period(as_of_ms) in active else period(as_of_ms) - 1
    answers = [number in active for number in range(last, last - length, -1)]
    if measure.stat == "streak":
        return Fraction([*answers, False].index(False))
    return Fraction(sum(answers), length if measure.stat == "active_share" else 1)


OTHERS: dict[str, Callable[[Measure, Sequence[Event], int, Event | None], Fraction | None]] = {
    **dict.fromkeys(PERIOD_STATISTICS, lambda measure, events, as_of_ms, _: _activity(measure, events, as_of_ms)),
    **dict.fromkeys(OPEN_STATISTICS, lambda measure, events, as_of_ms, _: open_things(measure, events, as_of_ms)),
    "days_to_first": days_to_first,
}
"""Statistics that are not of the events of a window."""


def _fact(measure: Measure, profile: Event | None, as_of_ms: int) -> Fraction | None:
    if profile is None:
        return None
    field = measure.settings["field"]
    if field.startswith("account."):
        return _attribute(measure, profile.attributes.get(field.removeprefix("account.")), as_of_ms)
    if measure.stat == "value":
        return Fraction(profile.numbers[field], MILLION) if field in profile.numbers else None
    if field not in profile.times_ms:
        return None
    days_since = as_of_ms // DAY_MS - profile.times_ms[field] // DAY_MS
    return Fraction(days_since if measure.stat == "days_since" else -days_since)


def _attribute(measure: Measure, value: Any, as_of_ms: int) -> Fraction | None:
    if measure.stat == "value":
        number = as_number(value)
        return None if number is None else Fraction(str(number))
    day = as_day(value)
    if day is None:
        return None
    days_since = as_of_ms // DAY_MS - day
    return Fraction(days_since if measure.stat == "days_since" else -days_since)


def _held(measure: Measure, events: Sequence[Event], window_starts_ms: int, as_of_ms: int) -> Fraction | None:
    """Return the statistic over the newest pane before the window that has one, unless that pane is stale."""
    if measure.stale_panes is None:
        return None
    pane_ms = measure.pane_ms
    first_ms = (as_of_ms // pane_ms - measure.stale_panes + 1) * pane_ms
    if measure.stat == "last":
        return _last(measure, counted(measure, events, first_ms, as_of_ms))
    by_pane: dict[int, list[Event]] = {}
    for event in counted(measure, events, first_ms, window_starts_ms - 1):
        by_pane.setdefault(event.time_ms // pane_ms, []).append(event)
    values = (STATISTICS[measure.stat](measure, by_pane[pane]) for pane in sorted(by_pane, reverse=True))
    return next((value for value in values if value is not None), None)


def two_windows(measure: Measure, events: Sequence[Event], as_of_ms: int) -> tuple[Fraction | None, Fraction | None]:
    """Return a total over its window and over the window before, as `compare = "previous"` compares them."""
    if measure.days is not None:
        complete = replace(measure, settings=measure.settings | {"complete": True})
        return _of_days(complete, events, as_of_ms, 0), _of_days(complete, events, as_of_ms, 1)
    length_ms = measure.panes * measure.pane_ms
    current_ms = as_of_ms // measure.pane_ms * measure.pane_ms
    starts_ms = current_ms - length_ms
    spans = ((starts_ms, current_ms - 1), (starts_ms - length_ms, starts_ms - 1))
    now, before = (STATISTICS[measure.stat](measure, counted(measure, events, *span)) for span in spans)
    return now, before


def _compared(measure: Measure, events: Sequence[Event], window_starts_ms: int, as_of_ms: int) -> Fraction | None:
    """Return the window's place among those before it, or its change against the one before it."""

    def total(first_ms: int, last_ms: int) -> Fraction:
        value = STATISTICS[measure.stat](measure, counted(measure, events, first_ms, last_ms))
        assert value is not None
        return value

    length_ms = measure.panes * measure.pane_ms
    starts = [window_starts_ms - number * length_ms for number in range(1, measure.windows_before + 1)]
    now, before = total(window_starts_ms, as_of_ms), [total(start, start + length_ms - 1) for start in starts]
    if measure.settings["compare"] == "previous":
        return (now - before[0]) / before[0] * 100 if before[0] > 0 else None
    if measure.settings["compare"] == "percentile":
        smaller = sum(value < now for value in before) + Fraction(sum(value == now for value in before), 2)
        return 100 * smaller / len(before)
    mean = sum(before, Fraction(0)) / len(before)
    variance = sum(((value - mean) ** 2 for value in before), Fraction(0)) / len(before)
    if variance:
        return _in_deviations(now - mean, variance)
    return Fraction(0) if now == mean else None


def _in_deviations(difference: Fraction, variance: Fraction) -> Fraction:
    """Return the difference in standard deviations, rounded to six decimals."""
    squared = difference * difference / variance
    with localcontext() as context:
        context.prec = 60
        root = (Decimal(squared.numerator) / Decimal(squared.denominator)).sqrt()
    return round(Fraction(root), 6) * (1 if difference > 0 else -1)


def _on_curve(value: Fraction, curve: list[dict[str, Any]]) -> Fraction:
    """Return the points on the straight line between the two points of the curve that the value lies between."""
    left = [knot for knot in curve if knot["at"] <= value]
    right = [knot for knot in curve if knot["at"] > value]
    if not left or not right:
        return Fraction((left or right[:1])[-1]["points"])
    start, end = left[-1], right[0]
    share: Fraction = (value - start["at"]) / Fraction(end["at"] - start["at"])
    points: Fraction = start["points"] + share * (end["points"] - start["points"])
    return points


def points_of(value: Fraction, rule: dict[str, Any]) -> Fraction:
    """Return the points, 0 to 100, that the normaliser `rule` gives to a value."""
    if rule["kind"] == "linear":
        points: Fraction = 100 * (value - rule["zero_at"]) / Fraction(rule["hundred_at"] - rule["zero_at"])
        return min(max(points, Fraction(0)), Fraction(100))
    if rule["kind"] == "curve":
        return _on_curve(value, rule["curve"])
    if rule["kind"] == "tiers":
        reached = [
            tier for tier in rule["tiers"] if (tier["above"] < value if "above" in tier else tier["from"] <= value)
        ]
        return Fraction((reached or rule["tiers"][:1])[-1]["points"])
    if rule["kind"] == "decay":
        halvings = float(max(value, Fraction(0)) / Fraction(rule["half_life"]))
        return Fraction(100 * 0.5**halvings)
    good, average, poor = rule.get("points", [100, 50, 0])
    # A descending scale is the ascending one seen in a mirror.
    side = 1 if rule["good"] > rule["average"] else -1
    if side * value >= side * rule["good"]:
        return Fraction(good)
    return Fraction(average if side * value >= side * rule["average"] else poor)


def _row_of(rows: list[dict[str, Any]], by: Fraction | None) -> dict[str, Any] | None:
    """Return the row of a grid that another measure selects; None if that is missing."""
    if by is None:
        return None
    return ([row for row in rows if row["from"] <= by] or rows[:1])[-1]


MISSING_WORDS = {"neutral": Fraction(50), "zero": Fraction(0)}


def measure_points(measure: Measure, values: Mapping[str, Fraction | None], segment: str | None) -> Fraction | None:
    """Return the points of a measure in a segment, by the values of all; None when its weight goes to the others."""
    value, rule = values[measure.name], measure.normaliser(segment)
    if rule is not None and rule["kind"] == "grid":
        rule = _row_of(rule["rows"], values[rule["by"]])
        value = None if rule is None else value
    if value is not None:
        return None if rule is None else points_of(value, rule)
    missing = measure.settings.get("missing", "redistribute")
    if missing in ("redistribute", "hold"):
        return None
    return MISSING_WORDS[missing] if isinstance(missing, str) else Fraction(missing)
