"""The rescoring: all accounts, scored some at a time while steps go on between.

Owns which accounts are left, and when the next rescoring is due while catching up. Changes that a commit left
unpublished have to be published in the end, a window boundary may change any score, and the accounts of a large
partition take seconds. Used by `stream.engine.engine`.

| rescoring | begins | publishes |
|---|---|---|
| on the way | after `OFTEN` times as many changes as there are accounts | what changed, and what time has moved |
| at the head | when catching up is over | the same, and alerts |
| of a boundary | when a window boundary passes at the head | as of the boundary, before records change the account |

A new one takes the place of one that is under way. That of a boundary is always over before the state is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows

OFTEN = 4
"""Changes of an account that make its score worth publishing while catching up. A score is some times as much work."""

LOOKED_AT = 8
"""How many accounts are scored at a boundary for one that may be published. Most scores do not move there."""


def changed_often(times_changed: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which accounts changed often enough to be published while catching up, (k,)."""
    return times_changed >= OFTEN


class Moment(NamedTuple):
    """What scores at a window boundary are published with."""

    as_of_ms: int
    idle: tuple[str, ...]
    """The idle sources."""


class Rescoring:
    """The accounts that are left of a rescoring; false when none is."""

    def __init__(self) -> None:
        """No rescoring is under way."""
        self._rows: Rows = np.empty(0, dtype=np.int64)
        """The accounts that were not taken in their turn, in order."""
        self._is_left = np.zeros(0, dtype=np.bool_)
        """By row, whether it is left."""
        self._left = 0
        self._changes = 0
        self.taken = np.zeros(0, dtype=np.bool_)
        """By row, whether it was taken."""
        self.at_head = False
        """Whether the rescoring that is under way, or was last, is one at the head or of a boundary."""
        self.boundary: Moment | None = None
        """The window boundary that it is of."""
        self.outdated = False
        """Whether time or peer tables may have moved scores before it began."""

    def __bool__(self) -> bool:
        return self._left > 0

    def note(self, changed: Sequence[Rows]) -> None:
        """Count the accounts that a step while catching up may have changed, a source after the other."""
        self._changes += sum(map(len, changed))

    def is_due(self, alive: Rows) -> bool:
        """Whether a rescoring is to begin on the way, given all accounts."""
        return not self and self._changes >= OFTEN * len(alive) > 0

    def begin(self, alive: Rows, *, at_head: bool, outdated: bool = False, boundary: Moment | None = None) -> None:
        """Begin a rescoring of all accounts, in this order."""
        self._rows, self._left = alive, len(alive)
        self._is_left = np.zeros(int(alive.max(initial=-1)) + 1, dtype=np.bool_)
        self._is_left[alive] = True
        self._changes, self.taken = 0, np.zeros_like(self._is_left)
        self.at_head, self.outdated, self.boundary = at_head, outdated, boundary

    def end(self) -> None:
        """End the rescoring: all accounts were scored in another way."""
        self._left, self._changes = 0, 0

    def is_at_head(self) -> bool:
        """Whether a rescoring at the head or of a boundary is under way."""
        return self.at_head and bool(self)

    def is_of_boundary(self) -> bool:
        """Whether a rescoring of a boundary is under way."""
        return self.boundary is not None and bool(self)

    def end_at_head(self) -> None:
        """End a rescoring at the head: the head was left again."""
        if self.is_at_head():
            self._left = 0

    def take(self, most: int | None) -> Rows:
        """The next accounts, at most `most` (None: all), ascending; they are not left any more."""
        rows, self._rows = self._rows[:most], self._rows[len(self._rows) if most is None else most :]
        rows = np.sort(self._take(rows))
        if not len(self._rows):
            self._left = 0
        return rows

    def put_back(self, rows: Rows) -> None:
        """Let rows that were taken be left again, as the next ones."""
        self._is_left[rows], self.taken[rows] = True, False
        self._rows = np.concatenate((rows, self._rows))
        self._left += len(rows)

    def take_of(self, rows: Rows) -> Rows:
        """Those of `rows` that are left; they are not left any more."""
        return self._take(rows[rows < len(self._is_left)])

    def _take(self, rows: Rows) -> Rows:
        rows = rows[self._is_left[rows]]
        self._is_left[rows], self.taken[rows] = False, True
        self._left -= len(rows)
        return rows
