"""Explanations: factors by what they cost, and the nearest change that alone lifts a band."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from agents.cli.texts.explanation import explanation_text
from schemas.outputs import Factor, ScoreMessage, ScoreValue
from stream.explain.explain import explain_message
from stream.explain.selector import select_score
from stream.plan.plan import compile_plan
from stream.policy.normalisers import Linear, Tiers
from stream.policy.policy import Policy, parse_policy

POLICY = """
name = "p"
[measures.people]
source = "product-usage"
stat = "distinct_users"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 50
[measures.urgent]
source = "support-tickets"
stat = "share"
of = { priority = ["urgent"] }
window = "30d"
normalise.kind = "tiers"
normalise.tiers = [{ from = 0, points = 100 }, { from = 0.1, points = 50 }, { from = 0.5, points = 0 }]
weight = 30
[measures.nps]
source = "surveys"
stat = "mean"
field = "score"
window = "30d"
normalise = { kind = "threshold", good = 8, average = 6 }
weight = 20
[scores.health]
min_change = 1
bands = [{ name = "good", from = 60 }, { name = "fair", from = 40 }, { name = "poor", from = 0 }]
"""


@pytest.fixture
def policy() -> Policy:
    return parse_policy(POLICY, "policy.toml")


def message(policy: Policy, *parts: tuple[float | None, float | None]) -> ScoreMessage:
    weights = [measure.weight or 0.0 for measure in policy.measures]
    total = sum(weight for weight, (_, points) in zip(weights, parts, strict=True) if points is not None)
    factors = []
    for measure, nominal, (value, points) in zip(policy.measures, weights, parts, strict=True):
        weight = 0.0 if points is None else nominal / total
        factors.append(Factor(measure.name, value, points, weight, weight * (points or 0.0)))
    score = sum(factor.contribution for factor in factors)
    band = max((band for band in policy.score.bands if band.from_ <= score), key=lambda band: band.from_)
    return ScoreMessage("a", 0, 1, "p@1", None, {"health": ScoreValue(score, band.name, factors)})


def test_factors_are_sorted_by_cost(policy: Policy) -> None:
    explanation = explain_message(
        message(policy, (2, 20), (0.6, 0), (7, 50)), compile_plan(policy), select_score(policy)
    )
    assert [factor.measure for factor in explanation.factors] == ["people", "urgent", "nps"]
    assert explanation.value == pytest.approx(20)
    assert (explanation.band, explanation.next_band) == ("poor", "fair")
    assert explanation.missing_points == pytest.approx(20)


def test_each_lift_alone_reaches_the_next_band_by_the_nearest_value(policy: Policy) -> None:
    explanation = explain_message(
        message(policy, (2, 20), (0.6, 0), (7, 50)), compile_plan(policy), select_score(policy)
    )
    lifts = {lift.measure: lift for lift in explanation.lifts}
    assert lifts["people"].needed == pytest.approx(6)
    # 67 points are wanted: the tier of 50 is not enough. NPS would have to give 150: it is left out.
    assert (lifts["urgent"].value, lifts["urgent"].needed) == (0.6, 0.0999)
    assert set(lifts) == {"people", "urgent"}
    by_name = {measure.name: measure for measure in policy.measures}
    for factor in explanation.factors:
        if factor.measure in lifts:
            needed = np.array([lifts[factor.measure].needed])
            normaliser = by_name[factor.measure].normaliser
            assert isinstance(normaliser, Linear | Tiers)
            (points,) = normaliser.points(needed)
            assert explanation.value + factor.weight * (points - factor.points) >= 40 - 1e-9


def test_a_lift_of_a_count_is_the_next_whole_number(policy: Policy) -> None:
    """There are no 5.88 users."""
    explanation = explain_message(
        message(policy, (1, 10), (0.3, 50), (7, 50)), compile_plan(policy), select_score(policy)
    )
    lift = next(lift for lift in explanation.lifts if lift.measure == "people")
    assert explanation.missing_points == pytest.approx(10)
    assert (lift.needed, lift.points) == (3, 30)
    explanation = explain_message(
        message(policy, (1, 12.4), (0.3, 50), (7, 50)), compile_plan(policy), select_score(policy)
    )
    lift = next(lift for lift in explanation.lifts if lift.measure == "people")
    assert (lift.needed, lift.points) == (3, 30)  # 29.99 points would be enough


def test_lift_names_the_nearest_of_several_sufficient_tiers(policy: Policy) -> None:
    explanation = explain_message(
        message(policy, (5.5, 55), (0.6, 0), (7, 50)), compile_plan(policy), select_score(policy)
    )
    lifts = {lift.measure: lift.needed for lift in explanation.lifts}
    assert lifts["urgent"] == 0.4999


def test_a_missing_measure_lifts_by_the_fewest_points_that_are_enough(policy: Policy) -> None:
    """A survey answer of 8, and a share of urgent tickets just below the tier of no points."""
    plan, selected = compile_plan(policy), select_score(policy)
    explanation = explain_message(message(policy, (2, 20), (None, None), (7, 50)), plan, selected)
    assert explanation.factors[-1].measure == "urgent"
    assert ("urgent", None, 0.0999, 100.0) in [
        (lift.measure, lift.value, lift.needed, lift.points) for lift in explanation.lifts
    ]
    explanation = explain_message(message(policy, (5.5, 55), (0.6, 0), (None, None)), plan, selected)
    assert ("nps", None, 8.0, 100.0) in [
        (lift.measure, lift.value, lift.needed, lift.points) for lift in explanation.lifts
    ]


def test_best_band_has_no_lifts(policy: Policy) -> None:
    explanation = explain_message(
        message(policy, (10, 100), (0, 100), (9, 100)), compile_plan(policy), select_score(policy)
    )
    assert (explanation.next_band, explanation.missing_points, explanation.lifts) == (None, 0.0, [])


def test_score_below_a_band_by_rounding_error_is_in_it(policy: Policy) -> None:
    full = message(policy, (10, 100), (0, 100), (9, 100))
    full.scores["health"].value = 59.99999999999999
    explanation = explain_message(full, compile_plan(policy), select_score(policy))
    assert (explanation.next_band, explanation.missing_points) == (None, 0.0)


def test_a_new_account_is_explained_as_new(policy: Policy) -> None:
    new = msgspec.structs.replace(message(policy, (2, 20), (0.6, 0), (7, 50)), state="new", new_until=1_790_812_800_000)
    explanation = explain_message(new, compile_plan(policy), select_score(policy))
    assert explanation.new_until == 1_790_812_800_000
    text = explanation_text(explanation, {})
    assert "It is new until 2026-10-01: alerts about its score begin then." in text.splitlines()
