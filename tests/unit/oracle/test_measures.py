"""The oracle's measures of events and profiles, and the sources, judged by numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.cases import DAY, NOON, NOW, ONE_BAND, event, log, measure, policy, profile, score, signal, value_of
from tests.oracle.engine import outcomes
from tests.strategies.policies import DAY_MS

# ---------------------------------------------------------------------------------------------------------------------
# Measures


def test_distinct_roles() -> None:
    lines = ('source = "engagement"', 'stat = "distinct_roles"', 'window = "1d"')
    roles = ("admin", "sponsor", "admin", None)
    assert value_of(log(*(event("engagement", NOON, kind="k", role=role) for role in roles)), *lines) == 2
    assert value_of(log(signal("x", 1)), *lines) == 0


WEEKS = [
    signal("m", value, NOON - DAY_MS - 7 * DAY_MS * weeks)
    for weeks, value in ((0, 4), (1, 2), (2, 4), (3, 10), (5, 99))
]
TODAY = signal("m", 1000)
"""The day that is not over: windows that are compared do not have it."""


@pytest.mark.parametrize(
    ("compare", "history", "value"),
    [
        ("percentile", "21d", 50.0),  # of 2, 4, 10 one is smaller and one equal
        ("percentile", "27d", 50.0),  # six days more hold no further week
        ("percentile", "28d", 62.5),  # and an empty week
        ("percentile", "35d", 50.0),
        ("z", "14d", 1.0),  # 2, 4: mean 3, deviation 1
        ("z", "21d", -0.392232),  # 2, 4, 10: mean 16/3, variance 104/9
        ("z", "28d", 0.0),  # 2, 4, 10, 0: mean 4
    ],
)
def test_against_its_own_history(compare: str, history: str, value: float) -> None:
    lines = ('stat = "sum"', 'window = "7d"', f'compare = "{compare}"', f'history = "{history}"')
    assert value_of(log(*reversed(WEEKS), TODAY), *lines) == value


def test_deviations_from_windows_that_are_all_alike() -> None:
    lines = ('stat = "sum"', 'window = "1d"', 'compare = "z"', 'history = "2d"')
    alike = [signal("m", 3, NOON - 3 * DAY_MS), signal("m", 3, NOON - 2 * DAY_MS)]
    assert value_of(log(*alike, signal("m", 3, NOON - DAY_MS), TODAY), *lines) == 0
    assert value_of(log(*alike, signal("m", 4, NOON - DAY_MS), TODAY), *lines) is None
    assert value_of(log(signal("other", 3)), *lines) == 0


@pytest.mark.parametrize(("value", "points"), [(0, 100), (-3, 100), (10, 50), (20, 25), (5, 100 * 0.5**0.5)])
def test_decay(value: float, points: float) -> None:
    text = policy(
        measure("m", "weight = 1", points='normalise = { kind = "decay", half_life = 10 }'), "[scores.health]", ONE_BAND
    )
    assert score(log(signal("m", value)), text).value == pytest.approx(points, rel=1e-15)


HELD = [
    signal("m", 7, NOON - 5 * DAY_MS),
    signal("m", 1, NOON - 4 * DAY_MS),
    signal("m", 3, NOON - 4 * DAY_MS + 1),
    signal("m", 8, NOON - 4 * DAY_MS + 2, "b"),
]


@pytest.mark.parametrize(
    ("stat", "window", "stale_after", "value"),
    [
        ("mean", "2d", "5d", 2.0),  # the newest pane before the window that has one, and only that
        ("max", "2d", "5d", 3.0),
        ("min", "2d", "90d", 1.0),
        ("last", "2d", None, 3.0),
        ("mean", "2d", "4d", None),  # stale
        ("mean", "5d", "6d", 2.0),  # the window itself
        ("mean", "6d", "7d", 11 / 3),
    ],
)
def test_hold(stat: str, window: str, stale_after: str | None, value: float | None) -> None:
    lines = [f'stat = "{stat}"', f'window = "{window}"', 'missing = "hold"']
    lines += [] if stale_after is None else [f'stale_after = "{stale_after}"']
    assert value_of(log(*HELD, signal("other", 1)), *lines) == value


@pytest.mark.parametrize(
    ("line", "today", "value"),
    [
        ("complete = false", 5, 9),  # days 0 to 2: 5, 1 and 3
        ("complete = true", 5, 11),  # days 1 to 3: 1, 3 and 7
        ('complete = "at-least"', 5, 11),  # of today's 5 and the 7 of day 3 the larger
        ('complete = "at-least"', 8, 12),
        ('complete = "at-least"', -9, 11),
    ],
)
def test_the_unfinished_pane_of_a_sum(line: str, today: float, value: float) -> None:
    days = [signal("m", number, NOON - ago * DAY_MS) for ago, number in ((3, 7), (2, 3), (1, 1), (0, today))]
    assert value_of(log(*days), 'stat = "sum"', 'window = "3d"', line) == value


@pytest.mark.parametrize(("ago", "line", "days"), [(0, "true", 0), (1, "true", 0), (3, "true", 2), (3, "false", 3)])
def test_days_since_last_of_complete_days(ago: int, line: str, days: int) -> None:
    records = log(signal("m", 1, NOON - ago * DAY_MS), signal("other", 1))
    lines = ('stat = "days_since_last"', 'window = "3d"' if line == "true" else 'window = "4d"', f"complete = {line}")
    assert value_of(records, *lines, 'where = { name = ["m"] }') == days


def test_reach_decides_what_is_late() -> None:
    def kept(*lines: str, others: str = "") -> int:
        text = policy(others, measure("m", *lines, "weight = 1"), "[scores.health]", ONE_BAND)
        days = (signal("m", 1, NOON - day * DAY_MS) for day in range(20))
        return outcomes(log(signal("m", 1, NOON + 1), *days), text, NOW)["signals", "applied"] - 1

    assert kept('window = "3d"') == 3
    assert kept('window = "3d"', 'missing = "hold"', 'stale_after = "8d"') == 8
    assert kept('window = "3d"', 'stat = "sum"', "complete = true") == 4
    assert kept('window = "3d"', 'stat = "sum"', 'complete = "at-least"') == 4
    assert kept('window = "3d"', 'stat = "sum"', 'compare = "previous"') == 7
    assert kept('window = "3d"', 'stat = "sum"', 'compare = "previous"', "complete = false") == 6
    assert kept('window = "3d"', 'stat = "sum"', 'compare = "z"', 'history = "11d"') == 13
    fact = measure("f", 'source = "accounts"', 'stat = "value"', 'field = "arr"', "weight = 1")
    assert kept('window = "3d"', others=fact) == 3


@pytest.mark.parametrize(
    ("stat", "field", "value"),
    [
        ("days_since", "started_at", 10),
        ("days_until", "started_at", -10),
        ("days_since", "renewal_at", None),
        ("value", "arr", 12.5),
    ],
)
def test_facts(stat: str, field: str, value: float | None) -> None:
    lines = ('source = "accounts"', f'stat = "{stat}"', f'field = "{field}"')
    known = profile(DAY, started_at="2024-10-04T23:59:59.999Z", arr=12.5)
    assert value_of(log(signal("x", 1), known), *lines) == value
    assert value_of(log(signal("x", 1)), *lines) is None


def test_the_latest_profile_holds_whenever_it_comes_and_a_deletion_erases_nothing() -> None:
    lines = ('source = "accounts"', 'stat = "value"', 'field = "arr"')
    first, second, tied = (
        profile(DAY, arr=1, id="1"),
        profile(DAY + 5, arr=2, id="2"),
        profile(DAY + 5, arr=3, id="1"),
    )
    gone: tuple[str, None] = ("accounts", None)
    for order in ((first, second, tied), (second, first, tied), (tied, second, gone, first)):
        assert value_of(log(signal("x", 1), *order), *lines) == 2
    assert value_of(log(signal("x", 1), profile(DAY + 6, id="3"), *order), *lines) == 2
    assert value_of(log(signal("x", 1), profile(DAY + 6, id="3", arr=None), *order), *lines) is None


# ---------------------------------------------------------------------------------------------------------------------
# Controls and signals

OVERRIDE: dict[str, Any] = {"kind": "override", "score": 50, "reason": "they called", "expires_at": NOW}


@pytest.mark.parametrize(
    ("source", "fields", "outcome"),
    [
        ("controls", {"kind": "pulse", "value": 0}, "applied"),
        ("controls", {"kind": "pulse", "value": 100.5}, "rejected"),
        ("controls", {"kind": "pulse", "value": -1}, "rejected"),
        ("controls", {"kind": "pulse"}, "rejected"),
        ("controls", OVERRIDE, "applied"),
        ("controls", OVERRIDE | {"score": None, "band": "all"}, "applied"),
        ("controls", OVERRIDE | {"score": None, "band": "good"}, "rejected"),
        ("controls", OVERRIDE | {"band": "all"}, "rejected"),
        ("controls", OVERRIDE | {"score": None}, "rejected"),
        ("controls", OVERRIDE | {"score": 101}, "rejected"),
        ("controls", OVERRIDE | {"reason": ""}, "rejected"),
        ("controls", OVERRIDE | {"expires_at": None}, "rejected"),
        ("controls", OVERRIDE | {"expires_at": "soon"}, "rejected"),
        ("controls", {"kind": "clear_override", "by": "ann"}, "applied"),
        ("controls", {"kind": "erase"}, "applied"),
        ("signals", {"name": "credit", "value": -3.5}, "applied"),
        ("signals", {"name": "", "value": 1}, "rejected"),
        ("signals", {"name": "credit"}, "rejected"),
        ("signals", {"value": 1}, "rejected"),
        ("signals", {"name": "credit", "value": "1"}, "rejected"),
    ],
)
def test_acceptance(source: str, fields: dict[str, Any], outcome: str) -> None:
    text = policy(measure("m", "weight = 1"), "[scores.health]", ONE_BAND)
    assert outcomes(log(event(source, DAY, **fields)), text, NOW) == {(source, outcome): 1}


def test_a_pulse_is_a_measure_like_any_other() -> None:
    lines = ('source = "controls"', 'stat = "last"', 'field = "value"', "where = { kind = ['pulse'] }", 'window = "9d"')
    records = log(
        event("controls", DAY, kind="pulse", value=80, by="ann"),
        event("controls", DAY + 1, kind="pulse", value=30, by="bob"),
        event("controls", DAY + 2, **OVERRIDE),
    )
    assert value_of(records, *lines) == 30
    assert value_of(records, *lines, as_of_ms=DAY + 9 * DAY_MS - 1) == 30
    # On the first day without an event it is missing; from the second one on it counts as at the end of its day.
    assert value_of(records, *(*lines[:-1], 'window = "1d"'), as_of_ms=DAY + DAY_MS) is None
    assert value_of(records, *lines, as_of_ms=DAY + 9 * DAY_MS) == 30
