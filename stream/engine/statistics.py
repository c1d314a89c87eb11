"""Figures about an engine for metrics: accounts by band and by status, bytes of state, accounts at the limit of things.

Called by `agents.worker.monitoring.gauges`.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from stream.accounts.status import STATES
from stream.columns.things import Things
from stream.engine.engine import Engine


def accounts_by_band(engine: Engine) -> list[NDArray[np.int64]]:
    """For each score the number of accounts in each band, ascending bands, int64 (bands,)."""
    accounts = engine.accounts
    scored = accounts.band[accounts.alive()]
    return [
        np.bincount(bands[bands >= 0], minlength=len(score_plan.score.bands))
        for score_plan, bands in zip(engine.plan.scores, scored.T, strict=True)
    ]


def accounts_by_state(engine: Engine) -> Counter[str]:
    """The number of accounts in each status, as of the last scoring; a status without an account is 0."""
    accounts = engine.accounts
    counts = Counter(dict.fromkeys(("active", "new", "no-data", "ended"), 0))
    for status, count in zip(*np.unique(accounts.status[accounts.alive()], return_counts=True), strict=True):
        counts[STATES[int(status)] or "active"] += int(count)
    return counts


def state_bytes(engine: Engine) -> int:
    """Bytes of memory that accounts, columns and event ids use."""
    return engine.accounts.nbytes() + sum(seen.nbytes() for seen in engine.seen.values())


def accounts_full_of_things(engine: Engine) -> int:
    """Number of accounts that have as many events of things as are kept, of each column one by one."""
    return sum(column.full_rows() for column in engine.columns if isinstance(column, Things))
