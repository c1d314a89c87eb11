"""Hysteresis of bands: `leave` and `dwell` of docs/reference/policy/bands.md.

Owns how a band moves at window boundaries when it depends on the band before, and which band is shown between them.
Only scores with `leave` or `dwell` have such state: `sticky_band` and `due_since` of `Accounts`. Pure but for the
arrays that it is given; called by `stream.engine.scorer`.

The state of a score is one of three, by (sticky band, due since):

| state | sticky band | due since |
|---|---|---|
| new | none | not due |
| steady | a band | not due |
| leaving | a band | the boundary since which another band has been due |

At a boundary a new score takes the band that is due. A steady one whose due band differs is leaving; a leaving one
whose due band is the sticky band again is steady, and one that has been leaving for `dwell` takes the due band. A score
without a value is new.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.plan.plan import Plan
from stream.scoring.scoring import NO_BAND, Scored

NOT_DUE = -1


class StickyBands(NamedTuple):
    """For k accounts and S scores: sticky band (k, S), and the boundary (ms) since which another is due (k, S)."""

    bands: NDArray[np.int8]
    due_since: NDArray[np.int64]


def shown(plan: Plan, due: Scored, sticky: NDArray[np.int8]) -> Scored:
    """Replace the bands that are due by the bands that are shown: with `dwell`, the sticky band (k, S) if there is one.

    Without `dwell` the due band is shown at once; `leave` has been applied to it already.
    """
    scores = list(due.scores)
    for index, score_plan in enumerate(plan.scores):
        if score_plan.score.dwell_ms is not None:
            score = scores[index]
            bands = np.where(
                (sticky[:, index] == NO_BAND) | (score.bands == NO_BAND), score.bands, sticky[:, index]
            ).astype(np.int8)
            scores[index] = score._replace(bands=bands)
    return due._replace(scores=tuple(scores))


def on_boundary(plan: Plan, due: Scored, sticky: StickyBands, boundary_ms: int) -> NDArray[np.bool_]:
    """Move sticky bands, in place, past a boundary (epoch ms) where bands are `due`; returns which changed, (k,)."""
    changed = np.zeros(len(sticky.bands), dtype=bool)
    for index, score_plan in enumerate(plan.scores):
        before, since_before = sticky.bands[:, index], sticky.due_since[:, index]
        bands = due.scores[index].bands
        is_new = before == NO_BAND
        leaving = (bands != before) & ~is_new
        since = np.where(leaving, np.where(since_before == NOT_DUE, boundary_ms, since_before), NOT_DUE)
        moves = (
            is_new
            | (bands == NO_BAND)
            | (leaving & plan.calendar.elapsed(since, boundary_ms, score_plan.score.dwell_ms or 0))
        )
        after = np.where(moves, bands, before)
        since = np.where(moves, NOT_DUE, since)
        changed |= (after != before) | (since != since_before)
        sticky.bands[:, index], sticky.due_since[:, index] = after, since
    return changed
