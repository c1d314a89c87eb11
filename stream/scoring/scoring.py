"""Scores: from measure values to points, contributions, scores and bands, for many accounts at once.

Owns the formulas of docs/reference/policy/scores.md: the weighted mean with and without groups, the additive sum,
exceptions, and the contributions that sum to a score. Pure; called by `stream.engine.scorer`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.accounts.status import Status, is_listed
from stream.plan.models import Model, ScorePlan
from stream.plan.plan import Plan
from stream.policy.band_index import band_index, due_band, rounded_for_bands
from stream.policy.normalisers import Grid, Normaliser, points_on_lines
from stream.scoring.silence import AtLastEvent, with_worse

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Bands = NDArray[np.int8]
NO_BAND = -1
"""The band of a score without a value."""
Selection = NDArray[np.intp] | NDArray[np.bool_]


class ScoreOf(NamedTuple):
    """One score of k accounts over its F measures.

    `weights` (k, F) are effective weights. `contributions` (k, F + extras) sum to `values` (k,); `parts` (k, parts) do,
    too, with measures at nominal weights. `bands` (k,) are indexes. `limited` (k, exceptions) says which exceptions
    apply; None where the score has none. Where the score has no value, `values` is NaN, the band `NO_BAND` and the
    rest 0.
    """

    weights: Matrix
    contributions: Matrix
    parts: Matrix
    values: Vector
    bands: Bands
    limited: NDArray[np.bool_] | None

    def pick(self, selected: Selection) -> ScoreOf:
        """The score of selected accounts."""
        return ScoreOf(
            self.weights[selected],
            self.contributions[selected],
            self.parts[selected],
            self.values[selected],
            self.bands[selected],
            None if self.limited is None else self.limited[selected],
        )

    def without(self, cleared: NDArray[np.bool_]) -> ScoreOf:
        """The score with no value for the accounts under the mask."""
        if not np.count_nonzero(cleared):
            return self
        column = cleared[:, None]
        return ScoreOf(
            np.where(column, 0.0, self.weights),
            np.where(column, 0.0, self.contributions),
            np.where(column, 0.0, self.parts),
            np.where(cleared, np.nan, self.values),
            np.where(cleared, np.int8(NO_BAND), self.bands),
            None if self.limited is None else self.limited & ~column,
        )


class Scored(NamedTuple):
    """Scores of k accounts: `values` (k, m or more) and `points` (k, m) are NaN where a measure is missing.

    After the values of the m measures come those of profile inputs of derived measures, and then those that percentiles
    among peers were computed from (see `stream.scoring.peers`). `segments` (k,) are indexes of the policy's segments,
    -1 for none; None when it has none. `status` (k,) are numbers of `stream.accounts.status.Status`. `held` (k, m) says
    which measures count as of the account's last event (see `stream.scoring.silence`); None where none does.
    """

    values: Matrix
    points: Matrix
    segments: NDArray[np.int8] | None
    scores: tuple[ScoreOf, ...]
    status: NDArray[np.int8]
    held: NDArray[np.bool_] | None = None

    @property
    def has_score(self) -> NDArray[np.bool_]:
        """Which accounts have a value of any score, (k,)."""
        has_score: NDArray[np.bool_] = self.scores[0].bands != NO_BAND
        for score in self.scores[1:]:
            has_score |= score.bands != NO_BAND
        return has_score

    def with_status(self, status: NDArray[np.int8]) -> Scored:
        """The scores with a status; an account that is not listed has no values.

        Where that is because no score has one, the measures keep theirs: peers may be compared with them later.
        """
        listed = is_listed(status)
        if np.count_nonzero(listed) == len(listed):
            return Scored(self.values, self.points, self.segments, self.scores, status, self.held)
        cleared = ~listed
        without_values = (cleared & self.has_score)[:, None]
        return Scored(
            np.where(without_values, np.nan, self.values),
            np.where(without_values, np.nan, self.points),
            self.segments,
            tuple(score.without(cleared) for score in self.scores),
            status,
            None if self.held is None else self.held & ~cleared[:, None],
        )

    def pick(self, selected: Selection) -> Scored:
        """The scores of selected accounts."""
        return Scored(
            self.values[selected],
            self.points[selected],
            None if self.segments is None else self.segments[selected],
            tuple(score.pick(selected) for score in self.scores),
            self.status[selected],
            None if self.held is None else self.held[selected],
        )


def score_values(
    plan: Plan,
    values: Matrix,
    segments: NDArray[np.int8] | None = None,
    sticky: Bands | None = None,
    at_last_event: AtLastEvent | None = None,
) -> Scored:
    """Points, contributions, scores and bands of values (k, m or more) of accounts in `segments` (k,).

    `sticky` (k, S) are the sticky bands, for policies with hysteresis; the bands are then those that are due. Of silent
    accounts, measures have the values of `at_last_event` where these are worse. A score without data has no value. All
    accounts come as ACTIVE.
    """
    points, held = _all_points(plan, values, segments), None
    if at_last_event is not None:
        indexes, values_then = at_last_event
        points_then = _all_points(plan, values_then, None if segments is None else segments[indexes])
        values, points, held = with_worse(plan, (values, points), (values_then, points_then), indexes)
    return Scored(
        values,
        points,
        segments,
        tuple(
            _without_data(
                score_plan,
                values,
                _score(score_plan, values, points, segments, None if sticky is None else sticky[:, index]),
            )
            for index, score_plan in enumerate(plan.scores)
        ),
        np.full(len(values), np.int8(Status.ACTIVE)),
        held,
    )


def _all_points(plan: Plan, values: Matrix, segments: NDArray[np.int8] | None) -> Matrix:
    """Points (k, m) of values (k, m or more) of accounts in `segments` (k,), NaN where a measure is missing."""
    rules, count = plan.points, len(plan.measures)
    points = np.empty((count, len(values))).T  # the points of one measure lie side by side
    points[:, rules.lines] = points_on_lines(values[:, rules.lines], rules.zero_at, rules.span)
    for index, normaliser in rules.others:
        points[:, index] = np.nan if normaliser is None else _points(plan, normaliser, values, index)
    if segments is not None:
        for index, segment, normaliser in rules.by_segment:
            inside = segments == segment
            points[inside, index] = _points(plan, normaliser, values[inside], index)
    absent = np.isnan(values[:, :count])
    if rules.has_grids:
        absent |= np.isnan(points) & rules.with_grid
    absent &= rules.fills
    return np.where(absent, rules.missing, points) if np.count_nonzero(absent) else points


def _without_data(score_plan: ScorePlan, values: Matrix, score: ScoreOf) -> ScoreOf:
    """The score with no value where it has no data: no measure has a value, or points that `missing` gives it."""
    takes_part = score.weights
    if score_plan.additive:
        takes_part = takes_part * ~np.isnan(values[:, score_plan.measure_indexes])
    has_data = np.logical_or.reduce(takes_part, axis=1)
    return score if np.count_nonzero(has_data) == len(has_data) else score.without(~has_data)


def _points(plan: Plan, normaliser: Normaliser, values: Matrix, index: int) -> Vector:
    """Points of measure `index` of the values (k, m or more), float64 (k,)."""
    if isinstance(normaliser, Grid):
        return normaliser.points(values[:, index], values[:, plan.index_of[normaliser.by]])
    return normaliser.points(values[:, index])


def _score(
    score_plan: ScorePlan, values: Matrix, points: Matrix, segments: NDArray[np.int8] | None, sticky: Bands | None
) -> ScoreOf:
    """One score, each account by the model of its segment."""
    models = score_plan.models
    if segments is None or score_plan.scores_alike:
        return _apply(score_plan, models[0], values, points, sticky)
    count, factors = len(values), len(score_plan.measures)
    most_limits = max(len(model.limits) for model in models)
    whole = ScoreOf(
        np.empty((count, factors)),
        np.empty((count, factors + len(score_plan.extras))),
        np.empty((count, len(score_plan.parts))),
        np.empty(count),
        np.empty(count, dtype=np.int8),
        np.zeros((count, most_limits), dtype=bool) if most_limits else None,
    )
    for segment in np.unique(segments).tolist():
        inside = np.flatnonzero(segments == segment)
        of_segment = _apply(
            score_plan,
            models[segment + 1],
            values[inside],
            points[inside],
            None if sticky is None else sticky[inside],
        )
        arrays: tuple[tuple[NDArray[Any], NDArray[Any]], ...] = tuple(zip(whole[:5], of_segment[:5], strict=True))
        for target, source in arrays:
            target[inside] = source
        if whole.limited is not None and of_segment.limited is not None:
            whole.limited[inside, : of_segment.limited.shape[1]] = of_segment.limited
    return whole


def _apply(score_plan: ScorePlan, model: Model, values: Matrix, points: Matrix, sticky: Bands | None) -> ScoreOf:
    """One score by one model."""
    if score_plan.additive:
        return _additive(score_plan, model, values[:, score_plan.measure_indexes], sticky)
    points_of_score = points[:, score_plan.measure_indexes]
    absent = np.isnan(points_of_score)
    present_points = np.where(absent, 0.0, points_of_score) if np.count_nonzero(absent) else points_of_score
    weights, contributions, scores = _weighted_mean(model, absent, present_points)
    parts = contributions
    if score_plan.redistributes:
        nominal = present_points * model.shares
        parts = np.empty((nominal.shape[1] + 1, len(scores))).T
        parts[:, :-1], parts[:, -1] = nominal, scores - np.add.reduce(nominal, axis=1)
    free = ScoreOf(weights, contributions, parts, scores, _bands(model, scores, sticky), None)
    if not model.limits and not score_plan.extras:
        return free
    return _limit(score_plan, model, points, free, sticky)


def _bands(model: Model, scores: Vector, sticky: Bands | None) -> Bands:
    """The band of each score, or the one that is due where bands are sticky."""
    rounded = rounded_for_bands(scores)
    if sticky is None or model.leaves is None:
        return band_index(rounded, model.starts)
    return due_band(rounded, model.starts, model.leaves, sticky)


def _weighted_mean(model: Model, absent: NDArray[np.bool_], points: Matrix) -> tuple[Matrix, Matrix, Vector]:
    """Effective weights (k, F), contributions (k, F) and scores (k,) of points (k, F), 0 where a measure is absent.

    Formula: `score = sum(weight * points) / sum(weight)`; effective weights sum to 1, and to 0 if all are missing.
    """
    if model.groups:
        weights = _group_weights(model, absent)
        contributions = points * weights
        return weights, contributions, contributions.sum(axis=1)
    weights = np.where(absent, 0.0, model.weights)
    weighted, total = points * weights, np.add.reduce(weights, axis=1)
    if np.count_nonzero(total) < len(total):
        total[total == 0] = 1.0  # no measure has a value: everything stays 0
    divisor = total[:, None]
    return weights / divisor, weighted / divisor, np.add.reduce(weighted, axis=1) / total


def _group_weights(model: Model, absent: NDArray[np.bool_]) -> Matrix:
    """Effective weights (k, F): that of a measure in its group, times that of the group among non-empty groups."""
    weights = np.zeros(absent.shape)
    total = np.zeros(len(absent))
    for group in model.groups:
        present = np.where(absent[:, group.indexes], 0.0, group.weights)
        within = present.sum(axis=1)
        has_measure = within > 0
        weights[:, group.indexes] = present / np.where(has_measure, within, 1.0)[:, None] * group.weight
        total += np.where(has_measure, group.weight, 0.0)
    return weights / np.where(total > 0, total, 1.0)[:, None]


def _limit(score_plan: ScorePlan, model: Model, points: Matrix, free: ScoreOf, sticky: Bands | None) -> ScoreOf:
    """Apply exceptions to a score: caps first, then bands. What caps take away is a factor of its own."""
    scores = free.values
    limited = np.zeros((len(scores), len(model.limits)), dtype=bool)
    for index, limit in enumerate(model.limits):
        applies = rounded_for_bands(points[:, limit.measure]) < limit.points_below
        limited[:, index] = applies
        if limit.cap is not None:
            scores = np.where(applies, np.minimum(scores, limit.cap), scores)
    bands = _bands(model, scores, sticky)
    for index, limit in enumerate(model.limits):
        if limit.band is not None:
            bands = np.where(limited[:, index], np.minimum(bands, limit.band), bands).astype(np.int8)
    contributions, parts = free.contributions, free.parts
    if score_plan.extras:
        capped = scores - free.values
        contributions = np.column_stack((contributions, capped))
        parts = np.insert(parts, len(score_plan.measures), capped, axis=1)
    return ScoreOf(free.weights, contributions, parts, scores, bands, limited)


def _additive(score_plan: ScorePlan, model: Model, values: Matrix, sticky: Bands | None) -> ScoreOf:
    """The additive score of values (k, F), missing ones counting 0.

    Formula: `score = sum(impact * value)`; with `map`, `(score - zero_at) * 100 / (hundred_at - zero_at)`, at least 0
    and at most 100.
    """
    counted = np.nan_to_num(values)
    weights = np.broadcast_to(model.weights, counted.shape)
    line = score_plan.score.line
    if line is None:
        contributions = counted * model.weights
        scores = contributions.sum(axis=1)
    else:
        scale = 100.0 / (line.hundred_at - line.zero_at)
        scaled = counted * (model.weights * scale)
        free = scaled.sum(axis=1) - line.zero_at * scale
        scores = np.clip(free, 0.0, 100.0) + 0.0
        base = np.full(len(scores), -line.zero_at * scale + 0.0)
        contributions = np.column_stack((scaled, base, scores - free))
    bands = np.maximum(_bands(model, scores, sticky), 0)
    return ScoreOf(weights, contributions, contributions, scores, bands.astype(np.int8), None)
