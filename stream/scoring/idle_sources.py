"""Scores that rest mostly on the past: sources have been idle for so long that nothing of their windows is left.

Owns when a score has no data for that reason: docs/reference/policy/idle-sources.md. The columns of an idle source
stand still, so they say themselves how far they are behind. Pure; called by `stream.engine.scorer`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.measures.base import AnyColumn
from stream.plan.derived import MeasurePlan
from stream.plan.plan import Plan
from stream.policy.band_index import BAND_DECIMALS
from stream.scoring.scoring import Scored

_LEAST_CONFIDENCE = 0.5
"""The share of weight that must rest on windows that are not over; at this share a score has no data."""


def without_outdated(plan: Plan, scored: Scored, columns: Sequence[AnyColumn], as_of_ms: int) -> Scored:
    """The scores of k accounts, with no value where half of the weight or more is on outdated measures."""
    if not any(_panes_behind(columns[index], as_of_ms) for index in plan.idle_source_columns):
        return scored
    outdated = np.array([_is_outdated(plan, measure, columns, as_of_ms) for measure in plan.measures])
    if not outdated.any():
        return scored
    scores = []
    for score_plan, score in zip(plan.scores, scored.scores, strict=True):
        current = ~outdated[score_plan.measure_indexes]
        confidence = np.array([model.confidence(current) for model in score_plan.models])
        has_no_data: NDArray[np.bool_] = np.round(confidence, BAND_DECIMALS) <= _LEAST_CONFIDENCE
        models = 0 if scored.segments is None else scored.segments.astype(np.intp) + 1
        scores.append(score.without(np.broadcast_to(has_no_data[models], score.values.shape)))
    return scored._replace(scores=tuple(scores))


def _is_outdated(plan: Plan, measure: MeasurePlan, columns: Sequence[AnyColumn], as_of_ms: int) -> bool:
    """Whether the window that was kept, of an input at least, and the one that ends now have no pane in common."""
    return any(
        0 < leaf.measure.window.panes <= _panes_behind(columns[index], as_of_ms)
        for leaf in measure.leaves
        for index in leaf.columns
        if index in plan.idle_source_columns
    )


def _panes_behind(column: AnyColumn, as_of_ms: int) -> int:
    assert column.newest is not None
    return column.calendar.pane_of(as_of_ms, column.unit) - column.newest
