"""The rescoring: all accounts, scored some at a time while steps go on between.

Owns which accounts are left, and when the next rescoring is due while catching up. Changes that a commit left
unpublished have to be published in the end, and the accounts of a large partition take seconds. Used by
`stream.engine.engine`.

| rescoring | begins | publishes |
|---|---|---|
| on the way | after `OFTEN` times as many changes as there are accounts | what changed, and what time has moved |
| at the head | when catching up is over | the same, and alerts |
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows

OFTEN = 4
"""Changes of an account that make its score worth publishing while catching up. A score is some times as much work."""


def changed_often(times_changed: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which accounts changed often enough to be published while catching up, (k,)."""
    return times_changed >= OFTEN


class Rescoring:
    """The accounts that are left of a rescoring; false when none is."""

    def __init__(self) -> None:
        """No rescoring is under way."""
        self._left: Rows = np.empty(0, dtype=np.int64)
        self._changes = 0
        self.taken = 0
        """How many accounts of it were taken."""
        self.at_head = False
        """Whether the rescoring that is under way, or was last, ends catching up."""
        self.outdated = False
        """Whether time or peer tables may have moved scores before it began."""

    def __bool__(self) -> bool:
        return bool(len(self._left))

    def note(self, changed: Sequence[Rows]) -> None:
        """Count the accounts that a step while catching up may have changed, a source after the other."""
        self._changes += sum(map(len, changed))

    def is_due(self, alive: Rows) -> bool:
        """Whether a rescoring is to begin on the way, given all accounts."""
        return not self and self._changes >= OFTEN * len(alive) > 0

    def begin(self, alive: Rows, *, at_head: bool, outdated: bool) -> None:
        """Begin a rescoring of all accounts, in place of one that is under way."""
        self._left, self._changes, self.taken, self.at_head, self.outdated = alive, 0, 0, at_head, outdated

    def end(self) -> None:
        """End the rescoring: all accounts were scored in another way."""
        self._left, self._changes = self._left[:0], 0

    def is_at_head(self) -> bool:
        """Whether a rescoring at the head is under way."""
        return self.at_head and bool(self)

    def end_at_head(self) -> None:
        """End a rescoring at the head: the head was left again."""
        if self.is_at_head():
            self._left = self._left[:0]

    def take(self, most: int | None) -> Rows:
        """The next accounts, at most `most` (None: all); they are not left any more."""
        rows = self._left[:most]
        self._left = self._left[len(rows) :]
        self.taken += len(rows)
        return rows
