"""How a policy spreads accounts: figures worked out by hand, and each warning."""

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


def of(found: Distribution, measure: str) -> MeasureDistribution:
    return next(one for one in found.measures if one.measure == measure)


def test_scores_bands_and_quartiles() -> None:
    # nps is missing, so scores are (people + level) / 2: 0, 25, 60, 100.
    found = distribution((0, 0, NAN), (5, 0, NAN), (7, 1, NAN), (10, 2, NAN))
    assert found.accounts == 4
    assert found.scores is not None
    assert (found.scores.min, found.scores.median, found.scores.max) == (0, 42.5, 100)
    assert (found.scores.q1, found.scores.q3) == (18.75, 70)
    assert [(one.from_, one.accounts) for one in found.histogram if one.accounts] == [(0, 1), (20, 1), (60, 1), (90, 1)]
    assert [one.to for one in found.histogram] == list(range(10, 101, 10))
    assert [(one.band, one.accounts, one.share) for one in found.bands] == [
        ("top", 1, 0.25),
        ("good", 1, 0.25),
        ("poor", 2, 0.5),
    ]


def test_shares_and_values_of_a_measure() -> None:
    found = distribution((0, 0, NAN), (5, 0, 8), (20, 1, 9), (10, 2, NAN))
    people = of(found, "people")
    assert (people.missing, people.at_zero, people.at_hundred) == (0, 0.25, 0.5)
    assert people.values is not None
    assert (people.values.min, people.values.median, people.values.max) == (0, 7.5, 20)
    nps = of(found, "nps")
    assert (nps.missing, nps.at_zero, nps.at_hundred) == (0.5, 0, 0)
    assert nps.values is not None
    assert (nps.values.q1, nps.values.q3) == (8.25, 8.75)
    assert found.warnings == []


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
def test_what_does_not_tell_accounts_apart_is_named(accounts: list[tuple[float, float, float]], warning: str) -> None:
    assert [told for told in distribution(*accounts).warnings if told.startswith(warning)]


def test_a_policy_that_tells_accounts_apart_has_no_warning() -> None:
    assert distribution((1, 0, 1), (7, 1, 8), (9.5, 2, 9.5)).warnings == []


def test_one_account_does_not_vary_from_itself_and_none_has_no_figures() -> None:
    assert [told for told in distribution((3, 1, 5)).warnings if "varies" in told or "clamped" in told] == []
    found = distribution()
    assert (found.accounts, found.scores, found.warnings) == (0, None, [])
    assert {one.values for one in found.measures} == {None}
