"""Scores of many accounts as of a moment, with all that is published with them.

Owns the tuple that the modules of this package and `stream.alerts` hand on. Made by `stream.publishing.publisher`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.scoring.history import Incomplete
from stream.scoring.scoring import Scored, ScoreOf

_CHUNK = 4096


class ScoredBatch(NamedTuple):
    """Scores of k accounts as of a moment, ready to publish.

    `moments` (k,) are since when (ms) each score holds, `revisions` (k,) the revisions it is published with.
    """

    as_of_ms: int
    rows: Rows
    scored: Scored
    moments: NDArray[np.int64]
    revisions: NDArray[np.int64]
    catching_up: bool
    idle: tuple[str, ...] = ()
    """Idle sources, sorted."""
    incomplete: Incomplete = ()
    """Measures whose windows are not full since a policy change (`stream.scoring.history`)."""

    def chunks(self) -> Iterator[tuple[slice, ScoredBatch]]:
        """The batch in pieces that stay in the caches of a processor while they are encoded, and where each one is.

        An empty batch has none.
        """
        if 0 < len(self.rows) <= _CHUNK:
            yield slice(len(self.rows)), self
            return
        for begin in range(0, len(self.rows), _CHUNK):
            end = min(begin + _CHUNK, len(self.rows))
            yield slice(begin, end), self.pick(np.arange(begin, end))

    def with_score(self, number: int, score: ScoreOf) -> ScoredBatch:
        """The batch with another result of score `number`."""
        scores = (*self.scored.scores[:number], score, *self.scored.scores[number + 1 :])
        return self._replace(scored=self.scored._replace(scores=scores))

    def pick(self, selected: NDArray[np.intp] | NDArray[np.bool_]) -> ScoredBatch:
        """The batch with the selected accounts only."""
        return self._replace(
            rows=self.rows[selected],
            scored=self.scored.pick(selected),
            moments=self.moments[selected],
            revisions=self.revisions[selected],
        )
