"""What the reference says of rounding, of times below a millisecond, of `weights` and of `hold` in additive scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stream.policy.policy import PolicyError, parse_policy
from tests.golden.replays import Log, replay, values

if TYPE_CHECKING:
    from pathlib import Path

ADDITIVE = """
[scores.health]
model = "additive"
impacts = { m = 1 }
min_change = 1.0
bands = [{ name = "all", from = 0 }]
"""
MEASURE = 'name = "p"\n[measures.m]\nsource = "signals"\nwindow = "30d"\n'


def value(folder: Path, statistic: str, log: Log, days_later: int = 0) -> float | None:
    """The value of a measure of signals; the score is the same, or without a value too."""
    score = replay(folder, MEASURE + statistic + ADDITIVE, log, days_later).score("a")
    assert score.value == values(score)["m"]
    return values(score)["m"]


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        ('stat = "sum"\nfield = "value"', 2.469134),  # 1.234567 twice
        ('stat = "mean"\nfield = "value"', 1.234567),
        ('stat = "min"\nfield = "value"', 1.23456651),
        ('stat = "max"\nfield = "value"', 1.23456749),
        ('stat = "last"\nfield = "value"', 1.23456749),
    ],
)
def test_what_is_summed_is_rounded_to_six_decimals_and_min_max_and_last_are_not(
    tmp_path: Path, statistic: str, expected: float
) -> None:
    log = Log().add("signals", "a", 1, name="n", value=1.23456651).add("signals", "a", 0, name="n", value=1.23456749)
    assert value(tmp_path, statistic, log) == expected


def test_weights_are_rounded_to_six_decimals(tmp_path: Path) -> None:
    statistic = 'stat = "weighted_count"\nweights = { name = { n = 0.12345678 } }'
    assert value(tmp_path, statistic, Log().add("signals", "a", times=2, name="n", value=1)) == 0.246914


@pytest.mark.parametrize(
    ("first", "second", "latest"),
    [
        ("2026-03-27T11:00:00.0009Z", "2026-03-27T11:00:00.0001Z", 7),  # the same millisecond: the largest value
        ("2026-03-27T11:00:00.0019Z", "2026-03-27T11:00:00.0021Z", 5),  # a millisecond later
        ("2026-03-27T11:00:00.000999Z", "2026-03-27T11:00:00.001Z", 5),
    ],
)
def test_fractions_of_a_millisecond_are_cut_off(tmp_path: Path, first: str, second: str, latest: int) -> None:
    log = Log().add("signals", "a", name="n", value=7, time=first)
    log.add("signals", "a", name="n", value=5, time=second)
    assert value(tmp_path, 'stat = "last"\nfield = "value"', log) == latest


def test_weights_of_two_fields_are_refused() -> None:
    text = MEASURE.replace("signals", "support-tickets") + 'stat = "weighted_count"\n'
    text += "weights = { priority = { urgent = 4 }, status = { opened = 1 } }" + ADDITIVE
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    (problem,) = caught.value.problems
    assert problem.key == "measures.m.weights"
    assert problem.message.startswith("must be a table of one text field")


@pytest.mark.parametrize(("missing", "expected"), [('"hold"', 8.0), ('"redistribute"', None)])
def test_hold_gives_an_additive_score_the_held_value(tmp_path: Path, missing: str, expected: float | None) -> None:
    log = Log().add("signals", "a", 0, name="n", value=8)
    statistic = f'stat = "last"\nfield = "value"\nmissing = {missing}\n'
    assert value(tmp_path, statistic, log, days_later=40) == expected


def test_points_for_a_missing_measure_do_not_change_an_additive_score(tmp_path: Path) -> None:
    """`missing = 50` gives points, and an additive score has none: the missing value stays missing."""
    statistic = 'stat = "last"\nfield = "value"\nmissing = 50\n'
    log = Log().add("signals", "a", 0, name="n", value=8)
    assert value(tmp_path, statistic, log, days_later=40) is None


def test_the_confidence_of_a_score_has_12_decimals(tmp_path: Path) -> None:
    kinds = (("usage", "product-usage"), ("tickets", "support-tickets"), ("contacts", "engagement"))
    measures = "".join(
        f'[measures.{name}]\nsource = "{source}"\nstat = "count"\nwindow = "28d"\nweight = 1\n'
        'normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }\n'
        for name, source in kinds
    )
    bands = '[scores.health]\nmin_change = 1\nbands = [{ name = "all", from = 0 }]\n'
    policy = f'name = "thirds"\n{measures}{bands}[sources.engagement]\nstall_after = "2d"\n'
    log = Log().add("engagement", "a", 9).add("support-tickets", "a", 1).add("product-usage", "a")
    assert replay(tmp_path, policy, log).score("a").confidence == 0.666666666667
