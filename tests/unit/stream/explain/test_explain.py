"""Explanations: what costs most, and the nearest change that alone is enough."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.outputs import Factor, ScoreMessage, ScoreValue
from stream.explain.explain import explain_message
from stream.explain.selector import select_score
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
    given = [measure.weight or 0.0 for measure in policy.measures]
    total = sum(weight for weight, (_, points) in zip(given, parts, strict=True) if points is not None)
    factors = []
    for measure, own, (value, points) in zip(policy.measures, given, parts, strict=True):
        weight = 0.0 if points is None else own / total
        factors.append(Factor(measure.name, value, points, weight, weight * (points or 0.0)))
    score = sum(factor.contribution for factor in factors)
    band = max((band for band in policy.score.bands if band.from_ <= score), key=lambda band: band.from_)
    return ScoreMessage("a", 0, 1, "p@1", None, {"health": ScoreValue(score, band.name, factors)})


def test_factors_come_by_what_they_cost(policy: Policy) -> None:
    told = explain_message(message(policy, (2, 20), (0.6, 0), (7, 50)), select_score(policy))
    assert [factor.measure for factor in told.factors] == ["people", "urgent", "nps"]
    assert told.value == pytest.approx(20)
    assert (told.band, told.next_band) == ("poor", "fair")
    assert told.missing_points == pytest.approx(20)


def test_each_lift_is_enough_and_the_nearest(policy: Policy) -> None:
    told = explain_message(message(policy, (2, 20), (0.6, 0), (7, 50)), select_score(policy))
    lifts = {lift.measure: lift for lift in told.lifts}
    assert lifts["people"].needed == pytest.approx(6)
    # 67 points are wanted: the tier of 50 is not enough. NPS would have to give 150: it is left out.
    assert (lifts["urgent"].value, lifts["urgent"].needed) == (0.6, 0)
    assert set(lifts) == {"people", "urgent"}
    by_name = {measure.name: measure for measure in policy.measures}
    for factor in told.factors:
        if factor.measure in lifts:
            needed = np.array([lifts[factor.measure].needed])
            normaliser = by_name[factor.measure].normaliser
            assert normaliser is not None
            (points,) = normaliser.points(needed)
            assert told.value + factor.weight * (points - factor.points) >= 40 - 1e-9


def test_of_several_tiers_that_are_enough_the_nearest_is_told(policy: Policy) -> None:
    told = explain_message(message(policy, (5.5, 55), (0.6, 0), (7, 50)), select_score(policy))
    lifts = {lift.measure: lift.needed for lift in told.lifts}
    assert lifts["urgent"] == 0.1


def test_a_measure_without_data_costs_nothing_and_lifts_nothing(policy: Policy) -> None:
    told = explain_message(message(policy, (2, 20), (None, None), (7, 50)), select_score(policy))
    assert told.factors[-1].measure == "urgent"
    assert "urgent" not in {lift.measure for lift in told.lifts}


def test_the_best_band_needs_nothing(policy: Policy) -> None:
    told = explain_message(message(policy, (10, 100), (0, 100), (9, 100)), select_score(policy))
    assert (told.next_band, told.missing_points, told.lifts) == (None, 0.0, [])


def test_a_score_that_only_floats_keep_below_a_band_is_in_it(policy: Policy) -> None:
    whole = message(policy, (10, 100), (0, 100), (9, 100))
    whole.scores["health"].value = 59.99999999999999
    told = explain_message(whole, select_score(policy))
    assert (told.next_band, told.missing_points) == (None, 0.0)
