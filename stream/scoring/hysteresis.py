"""Hysteresis of bands: `leave` and `dwell` of docs/reference/policy/bands.md.

Owns the memory of a band from border to border and what of it is shown. Only policies that ask for it have a memory.
Works on the accounts' `sticky_band` and `due_since`; called by `stream.engine.scorer`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.plan.plan import Plan
from stream.scoring.scoring import Scored

NO_BAND = -1
NOT_DUE = -1


class Memory(NamedTuple):
    """For k accounts and S scores: the band held (k, S) and the border (ms) since which another has been due (k, S)."""

    held: NDArray[np.int8]
    due_since: NDArray[np.int64]


def shown(plan: Plan, due: Scored, held: NDArray[np.int8]) -> Scored:
    """The scores with the bands that are shown, where `due` has those that are due."""
    scores = list(due.scores)
    for at, part in enumerate(plan.scores):
        if part.score.dwell_ms is not None:
            one = scores[at]
            bands = np.where(held[:, at] == NO_BAND, one.bands, held[:, at]).astype(np.int8)
            scores[at] = one._replace(bands=bands)
    return due._replace(scores=tuple(scores))


def on_boundary(plan: Plan, due: Scored, memory: Memory, boundary_ms: int) -> NDArray[np.bool_]:
    """Let the accounts hold to what is due at a border (epoch ms), in place; returns whose memory changed, (k,)."""
    changed = np.zeros(len(memory.held), dtype=bool)
    for at, part in enumerate(plan.scores):
        held, since = memory.held[:, at], memory.due_since[:, at]
        bands = due.scores[at].bands
        other = (bands != held) & (held != NO_BAND)
        begun = np.where(other, np.where(since == NOT_DUE, boundary_ms, since), NOT_DUE)
        waited = boundary_ms - begun >= (part.score.dwell_ms or 0)
        settled = (held == NO_BAND) | (other & waited)
        after = np.where(settled, bands, held)
        begun = np.where(settled, NOT_DUE, begun)
        changed |= (after != held) | (begun != since)
        memory.held[:, at], memory.due_since[:, at] = after, begun
    return changed
