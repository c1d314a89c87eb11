"""The one place of the back-test that knows how a policy and an engine hold a score.

Owns the way from a score's name to its bands and weights, and from an engine's accounts to what that score says of
them. Called by the rest of `agents.backtest`, which knows scores only as arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.engine.engine import Engine
from stream.explain.selector import SelectedScore, UnknownScoreError, reading, select_score
from stream.policy.policy import Band, Policy, Score

__all__ = ["Look", "UnknownScoreError", "bands_of", "look", "score_of", "select_score", "stands_in_score", "weights_of"]

_FULL = 100.0


class Look(NamedTuple):
    """What a score says of k accounts: scores and bands (k,), points and costs by measure (k, m).

    `costs` are the points of the score that a measure leaves on the table, or takes from an additive score, whose
    `points` are the values. Both are NaN where a measure is missing.
    """

    scores: NDArray[np.float64]
    bands: NDArray[np.int8]
    points: NDArray[np.float64]
    costs: NDArray[np.float64]


def look(engine: Engine, rows: Rows, selected: SelectedScore) -> Look:
    """What a score says of these rows now."""
    scored = engine.score(rows)
    one = scored.scores[selected.number]
    found = reading(engine.plan, selected, scored)
    gained = one.contributions[:, : len(selected.measures)]
    if selected.scale is not None:
        return Look(one.values, one.bands, found.values, -gained)
    costs = np.where(np.isnan(found.points), np.nan, one.weights * _FULL - gained)
    return Look(one.values, one.bands, found.points, costs)


def score_of(policy: Policy, name: str | None) -> Score:
    """The score of that name, or the first. UnknownScoreError when there is none."""
    return select_score(policy, name).score


def bands_of(policy: Policy, name: str) -> tuple[Band, ...]:
    """The bands of a score, the lowest first."""
    return score_of(policy, name).bands


def weights_of(policy: Policy, name: str) -> dict[str, float] | None:
    """The weight of each measure in a score, in that order; None when it is no plain weighted mean for all accounts."""
    selected = select_score(policy, name)
    score = selected.score
    if score.model is not None or (score.make_up is not None and score.make_up.groups):
        return None
    if any(part.make_up or part.use for part in score.segments):
        return None
    own = {measure.name: measure.weight or 0.0 for measure in selected.measures}
    return own if score.make_up is None else dict.fromkeys(own, 0.0) | dict(score.make_up.weights)


def stands_in_score(policy: Policy, name: str) -> bool:
    """Whether a score has weights in a table of its own."""
    return score_of(policy, name).make_up is not None
