"""Values to points to scores, for many accounts at once.

Owns the formulas of docs/reference/policy/scores.md: the weighted mean with and without groups, the additive sum,
exceptions, and the contributions that sum to a score. Pure; called by `stream.engine.engine` and nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import MILLIONTHS, Rows
from stream.measures import STATS, HeldStat
from stream.measures.base import AnyColumn, pane_column
from stream.plan.models import Model, ScorePlan
from stream.plan.plan import MeasurePlan, Plan
from stream.policy.band_index import BAND_DECIMALS, band_index, due_band

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
SelectedScore = NDArray[np.intp] | NDArray[np.bool_]
_Z_DECIMALS = 6


class ScoreOf(NamedTuple):
    """One score of k accounts over its F factors.

    `contributions` (k, F + extras) sum to `values`; `parts` (k, parts) do too, with measures at nominal weights;
    `limited` (k, exceptions) tells which exceptions hold, None where the score has none.
    """

    weights: Matrix
    contributions: Matrix
    parts: Matrix
    values: Vector
    bands: NDArray[np.int8]
    limited: NDArray[np.bool_] | None

    def pick(self, selected: SelectedScore) -> ScoreOf:
        """Only some of the accounts."""
        limited = None if self.limited is None else self.limited[selected]
        kept = (part[selected] for part in self[:4])
        weights, contributions, parts, values = kept
        return ScoreOf(weights, contributions, parts, values, self.bands[selected], limited)


class Scored(NamedTuple):
    """Scores of k accounts: `values` and `points` (k, m) are NaN where a measure is missing.

    Behind the measures' values stand those that percentiles among peers were made from (see `stream.scoring.peers`).
    `segments` (k,) are the policy's segments, -1 for none; None when the policy has none.
    """

    values: Matrix
    points: Matrix
    segments: NDArray[np.int8] | None
    scores: tuple[ScoreOf, ...]

    def pick(self, selected: SelectedScore) -> Scored:
        """Only some of the accounts."""
        return Scored(
            self.values[selected],
            self.points[selected],
            None if self.segments is None else self.segments[selected],
            tuple(one.pick(selected) for one in self.scores),
        )


def measure_values(plan: Plan, columns: Sequence[AnyColumn], rows: Rows) -> Matrix:
    """The value of every measure, (k, m)."""
    values = np.empty((len(rows), len(plan.measures)))
    for at, part in enumerate(plan.measures):
        values[:, at] = _measure_value(part, [columns[position] for position in part.columns], rows)
    return values


def _measure_value(part: MeasurePlan, read: Sequence[AnyColumn], rows: Rows) -> Vector:
    measure = part.measure
    if measure.history is not None:
        totals = pane_column(read[0]).read_blocks(rows, measure.window.panes, measure.blocks)
        return _percentile(totals) if measure.compare == "percentile" else _z(totals)
    stat = STATS[measure.stat]
    values = stat.read(measure, read, rows)
    if part.whole is not None:
        return _change_in_percent(values, stat.read(part.whole, read, rows))
    if measure.stale_after is not None:
        missing = np.flatnonzero(np.isnan(values))
        if missing.size:
            values[missing] = cast("HeldStat", stat).held(measure, read, rows[missing])
    return values


def _change_in_percent(now: Vector, whole: Vector) -> Vector:
    """From the window before to this one; NaN where nothing was before. `whole` is the total of both.

    In whole millionths and with one division, so that -20 % is exactly -20 to a threshold.
    """
    now, whole = np.rint(now * MILLIONTHS), np.rint(whole * MILLIONTHS)
    before = whole - now
    change: Vector = np.divide(100.0 * (now - before), before, out=np.full(len(now), np.nan), where=before > 0)
    return change


def _percentile(totals: Matrix) -> Vector:
    """Share of earlier windows below the newest, first one, in percent; equal ones count half."""
    now, before = totals[:, :1], totals[:, 1:]
    doubled = 2 * (before < now).sum(axis=1) + (before == now).sum(axis=1)
    return np.asarray(100.0 * doubled / (2 * before.shape[1]), dtype=np.float64)


def _z(totals: Matrix) -> Vector:
    """Standard deviations from the mean of earlier windows; NaN where these are alike and this one is not."""
    now, before = totals[:, 0], totals[:, 1:]
    alike = (before == before[:, :1]).all(axis=1)
    distribution = np.where(alike, 1.0, before.std(axis=1))
    score = np.round((now - before.mean(axis=1)) / distribution, _Z_DECIMALS)
    return np.where(alike, np.where(now == before[:, 0], 0.0, np.nan), score) + 0.0


def score_values(
    plan: Plan, values: Matrix, segments: NDArray[np.int8] | None = None, held: NDArray[np.int8] | None = None
) -> Scored:
    """Points, contributions, scores and bands of values (k, m or more) of accounts in `segments` (k,).

    `held` (k, S) are the bands that accounts hold to, for policies that remember them; the bands are then those due.
    """
    points = np.empty((len(values), len(plan.measures)))
    for at, part in enumerate(plan.measures):
        measure = part.measure
        if measure.normaliser is None:
            points[:, at] = np.nan
        else:
            points[:, at] = measure.normaliser.points(values[:, at])
        if segments is not None:
            for segment, normaliser in part.by_segment:
                inside = segments == segment
                points[inside, at] = normaliser.points(values[inside, at])
        if measure.missing is not None:
            points[np.isnan(values[:, at]), at] = measure.missing
    return Scored(
        values,
        points,
        segments,
        tuple(
            _score(part, values, points, segments, None if held is None else held[:, at])
            for at, part in enumerate(plan.scores)
        ),
    )


def _score(
    part: ScorePlan, values: Matrix, points: Matrix, segments: NDArray[np.int8] | None, held: NDArray[np.int8] | None
) -> ScoreOf:
    if segments is None or all(model is part.models[0] for model in part.models):
        return _apply(part, part.models[0], values, points, held)
    count, factors = len(values), len(part.measures)
    most = max(len(model.limits) for model in part.models)
    whole = ScoreOf(
        np.empty((count, factors)),
        np.empty((count, factors + len(part.extras))),
        np.empty((count, len(part.parts))),
        np.empty(count),
        np.empty(count, dtype=np.int8),
        np.zeros((count, most), dtype=bool) if most else None,
    )
    for segment in np.unique(segments).tolist():
        inside = np.flatnonzero(segments == segment)
        some = _apply(
            part, part.models[segment + 1], values[inside], points[inside], None if held is None else held[inside]
        )
        arrays: tuple[tuple[NDArray[Any], NDArray[Any]], ...] = tuple(zip(whole[:5], some[:5], strict=True))
        for kept, found in arrays:
            kept[inside] = found
        if whole.limited is not None and some.limited is not None:
            whole.limited[inside, : some.limited.shape[1]] = some.limited
    return whole


def _apply(part: ScorePlan, model: Model, values: Matrix, points: Matrix, held: NDArray[np.int8] | None) -> ScoreOf:
    if part.additive:
        return _sum(part, model, values[:, part.places], held)
    weights, contributions, scores = _mean(model, points[:, part.places])
    parts = contributions
    if part.redistributes:
        nominal = np.nan_to_num(points[:, part.places]) * model.shares
        parts = np.column_stack((nominal, scores - nominal.sum(axis=1)))
    bands = _bands(model, scores, held)
    if not model.limits and not part.extras:
        return ScoreOf(weights, contributions, parts, scores, bands, None)
    return _limit(part, model, points, ScoreOf(weights, contributions, parts, scores, bands, None), held)


def _bands(model: Model, scores: Vector, held: NDArray[np.int8] | None) -> NDArray[np.int8]:
    rounded = np.round(scores, BAND_DECIMALS)
    if held is None or model.leaves is None:
        return band_index(rounded, model.starts)
    return due_band(rounded, model.starts, model.leaves, held)


def _mean(model: Model, points: Matrix) -> tuple[Matrix, Matrix, Vector]:
    """Effective weights (they sum to 1), contributions and scores of a weighted mean over the points there are."""
    absent = np.isnan(points)
    gained = np.where(absent, 0.0, points)
    if model.groups:
        weights = _group_weights(model, absent)
        contributions = gained * weights
        return weights, contributions, contributions.sum(axis=1)
    weights = np.where(absent, 0.0, model.weights)
    total = weights.sum(axis=1)
    weighted = gained * weights
    divisor = np.where(total > 0, total, 1.0)
    shares = divisor[:, None]
    return weights / shares, weighted / shares, weighted.sum(axis=1) / divisor


def _group_weights(model: Model, absent: NDArray[np.bool_]) -> Matrix:
    weights = np.zeros(absent.shape)
    total = np.zeros(len(absent))
    for group in model.groups:
        present = np.where(absent[:, group.places], 0.0, group.weights)
        within = present.sum(axis=1)
        known = within > 0
        weights[:, group.places] = present / np.where(known, within, 1.0)[:, None] * group.weight
        total += np.where(known, group.weight, 0.0)
    return weights / np.where(total > 0, total, 1.0)[:, None]


def _limit(part: ScorePlan, model: Model, points: Matrix, free: ScoreOf, held: NDArray[np.int8] | None) -> ScoreOf:
    """The score with its exceptions: what caps take is a factor of its own."""
    scores = free.values
    limited = np.zeros((len(scores), len(model.limits)), dtype=bool)
    for at, limit in enumerate(model.limits):
        holds = np.round(points[:, limit.measure], BAND_DECIMALS) < limit.points_below
        limited[:, at] = holds
        if limit.cap is not None:
            scores = np.where(holds, np.minimum(scores, limit.cap), scores)
    bands = _bands(model, scores, held)
    for at, limit in enumerate(model.limits):
        if limit.band is not None:
            bands = np.where(limited[:, at], np.minimum(bands, limit.band), bands).astype(np.int8)
    contributions, parts = free.contributions, free.parts
    if part.extras:
        taken = scores - free.values
        contributions = np.column_stack((contributions, taken))
        parts = np.insert(parts, len(part.measures), taken, axis=1)
    return ScoreOf(free.weights, contributions, parts, scores, bands, limited)


def _sum(part: ScorePlan, model: Model, values: Matrix, held: NDArray[np.int8] | None) -> ScoreOf:
    """The additive score: values times impacts, on the policy's line where it has one."""
    counted = np.nan_to_num(values)
    weights = np.broadcast_to(model.weights, counted.shape)
    line = part.score.line
    if line is None:
        contributions = counted * model.weights
        scores = contributions.sum(axis=1)
    else:
        scale = 100.0 / (line.hundred_at - line.zero_at)
        added = counted * (model.weights * scale)
        free = added.sum(axis=1) - line.zero_at * scale
        scores = np.clip(free, 0.0, 100.0) + 0.0
        base = np.full(len(scores), -line.zero_at * scale + 0.0)
        contributions = np.column_stack((added, base, scores - free))
    bands = np.maximum(_bands(model, scores, held), 0)
    return ScoreOf(weights, contributions, contributions, scores, bands.astype(np.int8), None)
