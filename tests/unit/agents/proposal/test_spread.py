"""Thresholds: between the accounts' own percentiles, in steps where most are equal, and never without effect."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.proposal.spread import sensible, spread_of, spread_text, text, thresholds_of
from stream.policy.policy import parse_policy

STEPS = '{ kind = "tiers", tiers = [{ from = 0, points = 0 }, { above = 0, points = 50 }, { from = 4, points = 100 }] }'
NAN = float("nan")
VALUES = st.lists(st.integers(-9, 9) | st.floats(-1e9, 1e9).map(lambda value: round(value, 6)), min_size=2, max_size=20)


@pytest.mark.parametrize(
    ("values", "toml"),
    [
        (range(101), '{ kind = "linear", zero_at = 10, hundred_at = 90 }'),
        ([value / 1000 for value in range(1001)], '{ kind = "linear", zero_at = 0.1, hundred_at = 0.9 }'),
        ([1234, 2345, 3456, 4567], '{ kind = "linear", zero_at = 1600, hundred_at = 4200 }'),
        ([0, 0, 0, 3, 5], STEPS),
        ([0] * 99 + [2], '{ kind = "tiers", tiers = [{ from = 0, points = 0 }, { above = 0, points = 100 }] }'),
        ([7] * 99 + [2], '{ kind = "tiers", tiers = [{ from = 0, points = 0 }, { from = 7, points = 100 }] }'),
        ([1001, 1002, 1003], '{ kind = "linear", zero_at = 1001.2, hundred_at = 1002.8 }'),
    ],
)  # fmt: skip
def test_thresholds_are_sensible_figures(values: list[float], toml: str) -> None:
    column = np.array([*values, NAN], dtype=np.float64)
    assert thresholds_of(column, spread_of(column), more_is_better=True).toml == toml


def test_less_can_be_better() -> None:
    column = np.arange(101.0)
    thresholds = thresholds_of(column, spread_of(column), more_is_better=False)
    assert thresholds.toml == '{ kind = "linear", zero_at = 90, hundred_at = 10 }'
    assert thresholds.reason == "0 points at 90, 100 at 10: their 10th and 90th percentiles"


@given(VALUES, st.booleans())
def test_whatever_the_values_the_best_has_more_points_than_the_worst(values: list[float], more: bool) -> None:
    column = np.array(values, dtype=np.float64)
    spread = spread_of(column)
    if not spread.varies or text(spread.min) == text(spread.max):
        return
    thresholds = thresholds_of(column, spread, more_is_better=more)
    policy = parse_policy(
        f'name = "p"\n[measures.m]\nsource = "billing"\nstat = "count"\nwindow = "7d"\nweight = 1\n'
        f"normalise = {thresholds.toml}\n"
        '[scores.s]\nmin_change = 1\nbands = [{ name = "any", from = 0 }]'
    )
    normaliser = policy.measures[0].normaliser
    assert normaliser is not None
    ordered = np.sort(column) if more else -np.sort(-column)
    points = normaliser.points(ordered)  # type: ignore[call-arg] # no grid of two measures
    assert (np.diff(points) >= 0).all()
    assert points[0] < points[-1]


def test_figures_are_what_a_person_writes() -> None:
    assert [sensible(value) for value in (0, 0.1374, 1.74, 14, 1234, -98765)] == [0, 0.14, 1.7, 14, 1200, -99000]
    assert [text(value) for value in (0.0, 2.5, 1e9, 0.1 + 0.2, -3.0)] == ["0", "2.5", "1000000000", "0.3", "-3"]
    column = np.array([1, 2, 3, NAN])
    assert spread_text(spread_of(column)) == ("4 accounts, 3 have a value: min 1, p10 1.2, median 2, p90 2.8, max 3")
