"""The one place of the back-test that knows how a policy and an engine hold a score.

Owns the way from a score's name to its bands and weights, and from an engine's accounts to what that score says of
them. Called by the rest of `agents.backtest`, which knows scores only as arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.columns import Rows
from stream.engine import Engine
from stream.policy import Band, Policy, Score

_FULL = 100.0


class UnknownScoreError(ValueError):
    """A score that a policy does not have; the message names those it has."""


class Look(NamedTuple):
    """What a score says of k accounts: scores and bands (k,), points and costs by measure (k, m).

    `costs` are the points of the score that a measure leaves on the table. Both are NaN where a measure is missing.
    """

    scores: NDArray[np.float64]
    bands: NDArray[np.int8]
    points: NDArray[np.float64]
    costs: NDArray[np.float64]


def look(engine: Engine, rows: Rows, _score: str) -> Look:
    """What a score says of these rows now."""
    scored = engine.score(rows)
    costs = np.where(np.isnan(scored.points), np.nan, scored.weights * _FULL - scored.contributions)
    return Look(scored.scores, scored.bands, scored.points, costs)


def score_of(policy: Policy, name: str | None) -> Score:
    """The score of that name, or the first. UnknownScoreError when there is none."""
    scores = [policy.score]
    if name is None:
        return scores[0]
    for score in scores:
        if score.name == name:
            return score
    known = ", ".join(score.name for score in scores)
    raise UnknownScoreError(f"policy {policy.name} has no score {name!r}; it has {known}")


def bands_of(policy: Policy, name: str) -> tuple[Band, ...]:
    """The bands of a score, the lowest first."""
    return score_of(policy, name).bands


def weights_of(policy: Policy, _score: str) -> dict[str, float]:
    """The weight of each measure in a score, by name, in the order of the columns of `Look.points`."""
    return {measure.name: measure.weight for measure in policy.measures}
