"""One score of a policy, chosen by name: what it is made of, and how to read it for some accounts.

Owns the only way by which explanations, forecasts, histories, distributions and back-tests get at a policy's score and
at what the columns say of it; none of them asks the policy or the engine itself. Called by `stream.explain.forecast`,
`stream.explain.explain`, `stream.explain.distribution` and the commands over files.
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
    """A policy has no score of the name that was asked for; the message names those it has."""


class SelectedScore(NamedTuple):
    """A score: its place in the policy, its measures, and its bands (ascending) outside of segments.

    `factors` are the names of what it is made of: measures, then what else its contributions hold.
    """

    name: str
    place: int
    bands: tuple[Band, ...]
    measures: tuple[Measure, ...]
    factors: tuple[str, ...]
    score: Score
    others: dict[str, Score]

    def bands_in(self, segment: str | None) -> tuple[Band, ...]:
        """The bands where they begin in a segment of the policy."""
        starts = dict(self.score.made_in(segment or "", self.others)[2])
        return tuple(replace(band, from_=starts.get(band.name, band.from_)) for band in self.bands)

    @property
    def scale(self) -> float | None:
        """What one of an additive score's sum is worth in points of the score; None for a weighted score."""
        if self.score.model is None:
            return None
        line = self.score.line
        return 1.0 if line is None else 100.0 / (line.hundred_at - line.zero_at)


class Reading(NamedTuple):
    """The chosen score of k accounts: `values` and `points` (k, F) of its measures, `contributions` (k, factors)."""

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
    place = 0 if name is None else names.index(name)
    score = policy.scores[place]
    part = plan_score(policy, score)
    measures = tuple(policy.measures[at] for at in part.measure_indexes.tolist())
    others = dict(zip(names, policy.scores, strict=True))
    return SelectedScore(score.name, place, score.bands, measures, (*part.measures, *part.extras), score, others)


def normaliser_in(measure: Measure, segment: str | None) -> Normaliser | None:
    """What turns a measure's value into points in a segment of the policy."""
    return dict(measure.by_segment).get(segment or "", measure.normaliser)


def reading(plan: Plan, selected: SelectedScore, scored: Scored) -> Reading:
    """The chosen score of accounts that have been scored."""
    one, places = scored.scores[selected.place], plan.scores[selected.place].measure_indexes
    return Reading(scored.values[:, places], scored.points[:, places], one.contributions, one.values, one.bands)
