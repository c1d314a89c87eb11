"""What changed, in order, for any number of listeners: the memory of the stream.

Owns a journal in which each key stands once, at its latest change. A listener is a position in it and nothing more, so
a slow one costs no memory: what it missed meanwhile it gets once, as it is now. Knows no sockets and no messages.
Called by `agents.board.web.streaming`, told by `agents.board.state.state`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable

MOST_KEYS = 100_000
"""Some 25 MB at most. A listener that is further behind than the oldest of them has to begin anew."""


class Journal:
    """The journal. `position` is the latest change; `add` adds one."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        """Empty; keeps at most `most` keys."""
        self.position = 0
        self.resets = 0
        """Listeners that were told to begin anew."""
        self._most = most
        self._floor = 0
        self._latest: dict[str, int] = {}
        self._positions = array("Q")
        self._keys: list[str] = []

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, key: str) -> None:
        """A key has changed."""
        self.position += 1
        self._latest[key] = self.position
        self._positions.append(self.position)
        self._keys.append(key)
        if len(self._keys) > 2 * len(self._latest) + 1024 or len(self._latest) > self._most:
            self._compact()

    def clear(self) -> None:
        """Forget all: every listener has to begin anew."""
        self.position += 1
        self._floor = self.position
        self._latest.clear()
        self._keys.clear()
        del self._positions[:]

    def can_resume(self, position: int) -> bool:
        """Whether everything that changed after a position is still known."""
        return self._floor <= position <= self.position

    def since(
        self, position: int, limit: int, wanted: Callable[[str], bool] | None = None
    ) -> tuple[list[tuple[int, str]], int]:
        """The next keys, at most `limit`, that changed after a position, each with its own; and where to go on.

        `wanted` tells which keys matter. Going on where this ends, a listener has seen everything at `position`.
        """
        found: list[tuple[int, str]] = []
        place = bisect_right(self._positions, position)
        while place < len(self._keys):
            at, key = self._positions[place], self._keys[place]
            place += 1
            if self._latest[key] == at and (wanted is None or wanted(key)):
                found.append((at, key))
                if len(found) == limit:
                    return found, at
        return found, self.position

    def _compact(self) -> None:
        """Leave out what was told again since, and the oldest keys beyond the limit."""
        live = [(at, key) for at, key in zip(self._positions, self._keys, strict=True) if self._latest[key] == at]
        excess = len(live) - self._most
        if excess > 0:
            excess += self._most // 8  # so that not every further key compacts
            self._floor = live[excess - 1][0]
            for _, key in live[:excess]:
                del self._latest[key]
            live = live[excess:]
        self._positions = array("Q", [at for at, _ in live])
        self._keys = [key for _, key in live]
