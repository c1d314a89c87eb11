"""Select one score of a policy by name: its measures, bands and factors, and its values for scored accounts.

Explanations, forecasts, histories, distributions and back-tests read scores only through this. Called by the other
modules of `stream.explain`, `agents.backtest`, `agents.files.history` and `agents.board.views.account`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.plan.models import plan_score
from stream.plan.plan import Plan
from stream.policy.normalisers import Normaliser
from stream.policy.policy import Band, Measure, Policy, Score
from stream.scoring.scoring import Scored

Matrix = NDArray[np.float64]


class UnknownScoreError(ValueError):
    """The policy has no score of that name; the message names those it has."""


class SelectedScore(NamedTuple):
    """A score: its index in the policy (`number`), its measures, and its bands (ascending) outside of segments.

    `factors` are the names of its contributions: measures, then base, clamping and exceptions.
    """

    name: str
    number: int
    bands: tuple[Band, ...]
    measures: tuple[Measure, ...]
    factors: tuple[str, ...]
    score: Score
    others: dict[str, Score]

    def bands_in(self, segment: str | None) -> tuple[Band, ...]:
        """The bands with the starts that they have in a segment of the policy."""
        starts = dict(self.score.made_in(segment or "", self.others)[2])
        return tuple(replace(band, from_=starts.get(band.name, band.from_)) for band in self.bands)

    @property
    def scale(self) -> float | None:
        """Points of the score for each point of an additive score's sum; None for a weighted score."""
        if self.score.model is None:
            return None
        line = self.score.line
        return 1.0 if line is None else 100.0 / (line.hundred_at - line.zero_at)


class Reading(NamedTuple):
    """The selected score of k accounts: `values` and `points` (k, F) of its measures, `contributions` (k, factors)."""

    values: Matrix
    points: Matrix
    contributions: Matrix
    scores: NDArray[np.float64]
    bands: NDArray[np.int8]


def select_score(policy: Policy, name: str | None = None) -> SelectedScore:
    """The policy's score of that name, or its first. Raises `UnknownScoreError`."""
    names = [score.name for score in policy.scores]
    if name is not None and name not in names:
        raise UnknownScoreError(f"policy {policy.name} has no score {name!r}; it has {', '.join(names)}")
    number = 0 if name is None else names.index(name)
    score = policy.scores[number]
    score_plan = plan_score(policy, score)
    measures = tuple(policy.measures[measure] for measure in score_plan.measure_indexes.tolist())
    others = dict(zip(names, policy.scores, strict=True))
    return SelectedScore(
        score.name, number, score.bands, measures, (*score_plan.measures, *score_plan.extras), score, others
    )


def normaliser_in(measure: Measure, segment: str | None) -> Normaliser | None:
    """The normaliser of a measure in a segment of the policy."""
    return dict(measure.by_segment).get(segment or "", measure.normaliser)


def reading(plan: Plan, selected: SelectedScore, scored: Scored) -> Reading:
    """The selected score of scored accounts."""
    result, measures = scored.scores[selected.number], plan.scores[selected.number].measure_indexes
    values, points = scored.values[:, measures], scored.points[:, measures]
    return Reading(values, points, result.contributions, result.values, result.bands)
