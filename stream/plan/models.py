"""Scores compiled: for each score and segment, arrays that turn points or values into contributions.

Owns the step from a score's words (weights, groups, impacts, exceptions, starts of bands) to arrays over its factors.
Knows no accounts. Made by `stream.plan.plan` once a policy, read by `stream.scoring.scoring` and
`stream.publishing.encoding`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.policy.band_index import BAND_DECIMALS
from stream.policy.policy import Measure, Policy, Score
from stream.policy.scores import Limit, MakeUp

BASE, CLAMPING, EXCEPTION = "base", "clamping", "exception"
"""Factors of a score that are no measures; see docs/reference/policy/scores.md."""
REDISTRIBUTION = "redistribution"
"""Factor of a change only: what sharing the weight of missing measures gave or took."""

Vector = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class GroupModel:
    """Measures weighed among themselves: places among the score's factors, their weights, the group's weight."""

    places: Places
    weights: Vector
    weight: float


@dataclass(frozen=True, slots=True)
class LimitModel:
    """An exception: place of its measure in the plan, and what it limits; `band` is an index or None."""

    measure: int
    name: str
    points_below: float
    cap: float | None
    band: int | None


@dataclass(frozen=True, slots=True)
class Model:
    """One way to make a score, over its F factors.

    `weights` (F,) are as the policy has them, `shares` (F,) are nominal and sum to 1; an additive model has impacts for
    weights. `starts` (bands,) are where bands begin, `leaves` (bands,) where they are left, None for the same.
    """

    weights: Vector
    shares: Vector
    groups: tuple[GroupModel, ...]
    limits: tuple[LimitModel, ...]
    starts: Vector
    leaves: Vector | None

    def trusted(self, which: NDArray[np.bool_]) -> float:
        """Share of the weight (of impacts: of their sizes) of some factors (F,), 0 to 1."""
        sizes = np.abs(self.shares if self.shares.any() else self.weights)
        total = float(sizes.sum())
        return float(sizes[which].sum()) / total if total else 1.0


@dataclass(frozen=True)
class ScorePlan:
    """One score: `places` (F,) of its measures in the plan, what else its contributions hold, a model a segment.

    `models[0]` is for accounts in no segment, `models[s + 1]` for those in segment `s` of the policy.
    """

    score: Score
    places: Places
    measures: tuple[str, ...]
    extras: tuple[str, ...]
    redistributes: bool
    models: tuple[Model, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """What a change is made of, in order."""
        return (*self.measures, *self.extras, *((REDISTRIBUTION,) if self.redistributes else ()))

    @property
    def remembers(self) -> bool:
        """Whether its bands depend on those of earlier borders."""
        return self.score.dwell_ms is not None or any(band.leave is not None for band in self.score.bands)

    @property
    def additive(self) -> bool:
        """Whether it sums values times impacts."""
        return self.score.model == "additive"


def plan_score(policy: Policy, score: Score) -> ScorePlan:
    """Lay out one score of a policy."""
    others = {other.name: other for other in policy.scores}
    made = [score.made_in(name, others) for name in ("", *(segment.name for segment in policy.segments))]
    make_ups = [make_up or _own_weights(policy) for make_up, _, _ in made]
    named = {name for make_up in make_ups for name in make_up.names()}
    order = {measure.name: at for at, measure in enumerate(policy.measures)}
    used = [measure for measure in policy.measures if measure.name in named]
    extras: list[str] = []
    if score.line is not None:
        extras = [BASE, CLAMPING]
    elif any(limit.cap is not None for _, limits, _ in made for limit in limits):
        extras = [EXCEPTION]
    factors = {measure.name: at for at, measure in enumerate(used)}
    bands = {band.name: at for at, band in enumerate(score.bands)}
    models: list[Model] = []
    for make_up, what in zip(make_ups, made, strict=True):
        if what in made[: len(models)]:
            models.append(models[made.index(what)])  # the same object: accounts need not be told apart
            continue
        _, limits, starts = what
        changed = dict(starts)
        weights, shares, groups = _weights(make_up, factors, additive=score.model is not None)
        models.append(
            Model(
                weights,
                shares,
                groups,
                tuple(_limit(limit, order, bands) for limit in limits),
                np.array([changed.get(band.name, band.from_) for band in score.bands]),
                _leaves(score, changed),
            )
        )
    return ScorePlan(
        score,
        np.array([order[measure.name] for measure in used], dtype=np.intp),
        tuple(measure.name for measure in used),
        tuple(extras),
        score.model is None and any(map(_can_be_missing, used)),
        tuple(models),
    )


def _leaves(score: Score, changed: dict[str, float]) -> Vector | None:
    """Where bands are left; in a segment that begins them elsewhere it keeps its distance to that."""
    if all(band.leave is None for band in score.bands):
        return None
    bounded = score.model is None or score.line is not None
    found = []
    for band in score.bands:
        start = changed.get(band.name, band.from_)
        leave = start if band.leave is None else start - (band.from_ - band.leave)
        leave = round(leave, BAND_DECIMALS)
        found.append(max(leave, 0.0) if bounded else leave)
    return np.array(found)


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
        places = np.array([factors[name] for name, _ in group.measures], dtype=np.intp)
        within = np.array([weight for _, weight in group.measures])
        shares[places] = within / within.sum() * (group.weight / total)
        groups.append(GroupModel(places, within, group.weight))
    return shares, shares, tuple(groups)


def _limit(limit: Limit, order: dict[str, int], bands: dict[str, int]) -> LimitModel:
    band = None if limit.band is None else bands.get(limit.band)
    return LimitModel(order[limit.measure], limit.measure, limit.points_below, limit.cap, band)


def _can_be_missing(measure: Measure) -> bool:
    """Whether its weight may have to be shared among others."""
    always = ("count", "sum", "rate", "weighted_count", "distinct_users", "distinct_features", "distinct_roles")
    return measure.missing is None and (measure.stat not in always or measure.compare not in (None, "percentile"))
