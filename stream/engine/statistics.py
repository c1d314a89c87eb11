"""Figures about an engine for metrics: accounts by band, bytes of state.

Called by `agents.worker.monitoring.gauges`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.engine.engine import Engine


def accounts_by_band(engine: Engine) -> list[NDArray[np.int64]]:
    """For each score the number of accounts in each band, ascending bands, int64 (bands,)."""
    accounts = engine.accounts
    scored = accounts.band[accounts.alive()]
    return [
        np.bincount(bands[bands >= 0], minlength=len(score_plan.score.bands))
        for score_plan, bands in zip(engine.plan.scores, scored.T, strict=True)
    ]


def state_bytes(engine: Engine) -> int:
    """Bytes of memory that accounts, columns and event ids use."""
    return engine.accounts.nbytes() + sum(seen.nbytes() for seen in engine.seen.values())
