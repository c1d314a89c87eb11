"""Distribution of scores and measures: figures worked out by hand, and each warning."""

from __future__ import annotations

import numpy as np
import pytest

from stream.explain.distribution import Distribution, MeasureDistribution, distribution_of
from stream.explain.selector import SelectedScore, reading, select_score
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from stream.scoring.scoring import score_values

POLICY = """
name = "p"
[measures.people]
source = "product-usage"
stat = "distinct_users"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[measures.level]
source = "engagement"
stat = "count"
window = "30d"
normalise = { kind = "threshold", good = 2, average = 1 }
weight = 1
[measures.nps]
source = "surveys"
stat = "mean"
field = "score"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 2
[scores.health]
min_change = 1
bands = [{ name = "top", from = 90 }, { name = "good", from = 60 }, { name = "poor", from = 0 }]
"""
PLAN = compile_plan(parse_policy(POLICY, "policy.toml"))
NAN = float("nan")


def distribution(*accounts: tuple[float, float, float]) -> Distribution:
    """Of accounts with these values of people, level and nps."""
    selected: SelectedScore = select_score(PLAN.policy)
    scored = score_values(PLAN, np.array(accounts, dtype=np.float64).reshape(-1, 3))
    return distribution_of(selected, reading(PLAN, selected, scored))


def measure_of(result: Distribution, name: str) -> MeasureDistribution:
    return next(measure for measure in result.measures if measure.measure == name)


def test_scores_bands_and_quartiles() -> None:
    # nps is missing, so scores are (people + level) / 2: 0, 25, 60, 100.
    result = distribution((0, 0, NAN), (5, 0, NAN), (7, 1, NAN), (10, 2, NAN))
    assert result.accounts == 4
    assert result.scores is not None
    assert (result.scores.min, result.scores.median, result.scores.max) == (0, 42.5, 100)
    assert (result.scores.q1, result.scores.q3) == (18.75, 70)
    assert [(bin_.from_, bin_.accounts) for bin_ in result.histogram if bin_.accounts] == [
        (0, 1),
        (20, 1),
        (60, 1),
        (90, 1),
    ]
    assert [bin_.to for bin_ in result.histogram] == list(range(10, 101, 10))
    assert [(band.band, band.accounts, band.share) for band in result.bands] == [
        ("top", 1, 0.25),
        ("good", 1, 0.25),
        ("poor", 2, 0.5),
    ]


def test_shares_and_values_of_a_measure() -> None:
    result = distribution((0, 0, NAN), (5, 0, 8), (20, 1, 9), (10, 2, NAN))
    people = measure_of(result, "people")
    assert (people.missing, people.at_zero, people.at_hundred) == (0, 0.25, 0.5)
    assert people.values is not None
    assert (people.values.min, people.values.median, people.values.max) == (0, 7.5, 20)
    nps = measure_of(result, "nps")
    assert (nps.missing, nps.at_zero, nps.at_hundred) == (0.5, 0, 0)
    assert nps.values is not None
    assert (nps.values.q1, nps.values.q3) == (8.25, 8.75)
    assert result.warnings == []


@pytest.mark.parametrize(
    ("accounts", "warning"),
    [
        ([(3, 0, 5), (3, 1, 6)], "people: never varies, every account with a value has 3"),
        ([(3, 2, 5), (4, 9, 6)], "level: gives every account 100 points, whatever its value"),
        (
            [(3, 0, 5), (12, 1, 6), (15, 1, 7)],
            "people: clamped to 100 points for 67% of the accounts with a value; hund",
        ),
        (
            [(0, 0, 5), (0, 1, 6), (5, 1, 7)],
            "people: clamped to 0 points for 67% of the accounts with a value; zero_at",
        ),
        ([(3, 0, NAN), (4, 1, NAN), (5, 1, 7)], "nps: missing for 67% of the accounts, where its weight is shared"),
        ([(3, 0, NAN), (4, 1, NAN)], "nps: no account has a value; does surveys have events"),
        ([(3, 0, 1), (4, 1, 2)], "band good (from 60): no account is in it"),
    ],
)
def test_measure_that_does_not_discriminate_gives_a_warning(
    accounts: list[tuple[float, float, float]], warning: str
) -> None:
    assert [text for text in distribution(*accounts).warnings if text.startswith(warning)]


def test_policy_that_discriminates_gives_no_warning() -> None:
    assert distribution((1, 0, 1), (7, 1, 8), (9.5, 2, 9.5)).warnings == []


def test_one_account_gives_no_warning_of_variation_and_none_gives_no_figures() -> None:
    assert [text for text in distribution((3, 1, 5)).warnings if "varies" in text or "clamped" in text] == []
    result = distribution()
    assert (result.accounts, result.scores, result.warnings) == (0, None, [])
    assert {measure.values for measure in result.measures} == {None}
