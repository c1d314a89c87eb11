"""Compiled scores: weights, groups, impacts, exceptions and band starts of each score as arrays over its measures.

Owns `ScorePlan` (one for each score of a policy) and `Model` (one for each segment that scores in a way of its own).
Knows no accounts. Built by `stream.plan.plan.compile_plan` once per policy, read by `stream.scoring.scoring` and
`stream.publishing.encoding`. The formulas are in docs/reference/policy/scores.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stream.plan.silence import COUNTING_STATS
from stream.policy.band_index import BAND_DECIMALS
from stream.policy.policy import Measure, Policy, Score
from stream.policy.scores import Limit, MakeUp

BASE, CLAMPING, EXCEPTION = "base", "clamping", "exception"
"""Factors of a score that are not measures; see docs/reference/policy/scores.md."""
REDISTRIBUTION = "redistribution"
"""Factor of a score change only: what redistributing the weights of missing measures added or took away."""

Vector = NDArray[np.float64]
Indexes = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class GroupModel:
    """A group of measures: their indexes among the score's measures, their weights in the group, the group's weight."""

    indexes: Indexes
    weights: Vector
    weight: float


@dataclass(frozen=True, slots=True)
class LimitModel:
    """An exception of a score: the index of its measure in the plan, and the cap or band (an index) it limits to."""

    measure: int
    name: str
    points_below: float
    cap: float | None
    band: int | None


@dataclass(frozen=True, slots=True)
class Model:
    """How one score is computed in one segment, over the score's F measures.

    `weights` (F,) are those of the policy, in an additive model the impacts. `shares` (F,) are the nominal weights,
    which sum to 1; all 0 in an additive model. `starts` (bands,) are the lower bounds of bands in points, `leaves`
    (bands,) the points below which an account leaves a band, None when the score has no `leave`.
    """

    weights: Vector
    shares: Vector
    groups: tuple[GroupModel, ...]
    limits: tuple[LimitModel, ...]
    starts: Vector
    leaves: Vector | None

    def confidence(self, current: NDArray[np.bool_]) -> float:
        """The part of the total weight, 0 to 1, that the measures `current` (F,) have; of impacts, of their sizes."""
        sizes = np.abs(self.shares if self.shares.any() else self.weights)
        total = float(sizes.sum())
        return float(sizes[current].sum()) / total if total else 1.0


@dataclass(frozen=True)
class ScorePlan:
    """One compiled score: its F measures, the factors that are not measures (`extras`), and a model for each segment.

    `measure_indexes` (F,) are indexes of its measures in the plan. `models[0]` is for accounts in no segment,
    `models[s + 1]` for those in segment `s` of the policy.
    """

    score: Score
    measure_indexes: Indexes
    measures: tuple[str, ...]
    extras: tuple[str, ...]
    redistributes: bool
    models: tuple[Model, ...]

    @cached_property
    def scores_alike(self) -> bool:
        """Whether one model scores the accounts of all segments."""
        return all(model is self.models[0] for model in self.models)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Names of the factors of a score change, in order: measures, extras, redistribution."""
        return (*self.measures, *self.extras, *((REDISTRIBUTION,) if self.redistributes else ()))

    @property
    def has_sticky_bands(self) -> bool:
        """Whether its bands depend on the bands at earlier window boundaries (`dwell` or `leave`)."""
        return self.score.dwell_ms is not None or any(band.leave is not None for band in self.score.bands)

    @property
    def additive(self) -> bool:
        """Whether the score is a sum of values times impacts."""
        return self.score.model == "additive"


def plan_score(policy: Policy, score: Score) -> ScorePlan:
    """Compile one score of a policy."""
    others = {other.name: other for other in policy.scores}
    by_segment = [score.made_in(name, others) for name in ("", *(segment.name for segment in policy.segments))]
    make_ups = [make_up or _own_weights(policy) for make_up, _, _ in by_segment]
    named = {name for make_up in make_ups for name in make_up.names()}
    index_of = {measure.name: index for index, measure in enumerate(policy.measures)}
    used = [measure for measure in policy.measures if measure.name in named]
    extras: list[str] = []
    if score.line is not None:
        extras = [BASE, CLAMPING]
    elif any(limit.cap is not None for _, limits, _ in by_segment for limit in limits):
        extras = [EXCEPTION]
    factors = {measure.name: index for index, measure in enumerate(used)}
    bands = {band.name: index for index, band in enumerate(score.bands)}
    models: list[Model] = []
    for make_up, definition in zip(make_ups, by_segment, strict=True):
        if definition in by_segment[: len(models)]:
            models.append(models[by_segment.index(definition)])  # one object, so that segments are scored together
            continue
        _, limits, starts = definition
        changed = dict(starts)
        weights, shares, groups = _weights(make_up, factors, additive=score.model is not None)
        models.append(
            Model(
                weights,
                shares,
                groups,
                tuple(_limit(limit, index_of, bands) for limit in limits),
                np.array([changed.get(band.name, band.from_) for band in score.bands]),
                _leaves(score, changed),
            )
        )
    return ScorePlan(
        score,
        np.array([index_of[measure.name] for measure in used], dtype=np.intp),
        tuple(measure.name for measure in used),
        tuple(extras),
        score.model is None and any(map(_can_be_missing, used)),
        tuple(models),
    )


def _leaves(score: Score, changed: dict[str, float]) -> Vector | None:
    """Points below which each band is left; where a segment moves a band's start, its `leave` moves with it."""
    if all(band.leave is None for band in score.bands):
        return None
    bounded = score.model is None or score.line is not None
    leaves = []
    for band in score.bands:
        start = changed.get(band.name, band.from_)
        leave = start if band.leave is None else start - (band.from_ - band.leave)
        if band.leave is not None or band.edge is None:
            leave = round(leave, BAND_DECIMALS)
        leaves.append(max(leave, 0.0) if bounded else leave)
    return np.array(leaves)


def _own_weights(policy: Policy) -> MakeUp:
    weighed = [(measure.name, measure.weight) for measure in policy.measures if measure.weight is not None]
    return MakeUp(weights=tuple(weighed))


def _weights(
    make_up: MakeUp, factors: dict[str, int], *, additive: bool
) -> tuple[Vector, Vector, tuple[GroupModel, ...]]:
    weights, shares = np.zeros(len(factors)), np.zeros(len(factors))
    if additive:
        for name, impact in make_up.impacts:
            weights[factors[name]] = impact
        return weights, shares, ()
    if not make_up.groups:
        for name, weight in make_up.weights:
            weights[factors[name]] = weight
        return weights, weights / weights.sum(), ()
    total = sum(group.weight for group in make_up.groups)
    groups = []
    for group in make_up.groups:
        indexes = np.array([factors[name] for name, _ in group.measures], dtype=np.intp)
        within = np.array([weight for _, weight in group.measures])
        shares[indexes] = within / within.sum() * (group.weight / total)
        groups.append(GroupModel(indexes, within, group.weight))
    return shares, shares, tuple(groups)


def _limit(limit: Limit, index_of: dict[str, int], bands: dict[str, int]) -> LimitModel:
    band = None if limit.band is None else bands.get(limit.band)
    return LimitModel(index_of[limit.measure], limit.measure, limit.points_below, limit.cap, band)


def _can_be_missing(measure: Measure) -> bool:
    """Whether the measure can be missing, so that its weight is redistributed among the others."""
    if measure.missing is not None:
        return False
    if measure.when is not None:
        return True
    return measure.stat not in COUNTING_STATS or measure.compare not in (None, "percentile") or measure.has_grid
