"""The journal of changes, from which every client of the stream reads at its own position.

Each key is in the journal once, at its latest change. A client is only a position, so a slow client needs no memory: it
gets each key that changed meanwhile once. The journal knows no sockets and no messages. `agents.board.state.state` adds
keys; `agents.board.web.streaming` reads them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable

MOST_KEYS = 100_000
"""About 25 MB. A client that is further behind than the oldest key has to start again."""


class Journal:
    """The journal. `position` is that of the latest change."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        """Create an empty journal of at most `most` keys."""
        self.position = 0
        self.resets = 0
        """Clients that had to start again."""
        self._most = most
        self._floor = 0
        self._latest: dict[str, int] = {}
        self._positions = array("Q")
        self._keys: list[str] = []

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, key: str) -> None:
        """Add a key that has changed."""
        self.position += 1
        self._latest[key] = self.position
        self._positions.append(self.position)
        self._keys.append(key)
        if len(self._keys) > 2 * len(self._latest) + 1024 or len(self._latest) > self._most:
            self._compact()

    def clear(self) -> None:
        """Remove all keys. Every client has to start again."""
        self.position += 1
        self._floor = self.position
        self._latest.clear()
        self._keys.clear()
        del self._positions[:]

    def can_resume(self, position: int) -> bool:
        """Whether the journal has everything that changed after a position."""
        return self._floor <= position <= self.position

    def since(
        self, position: int, limit: int, wanted: Callable[[str], bool] | None = None
    ) -> tuple[list[tuple[int, str]], int]:
        """At most `limit` keys that changed after a position, each with its own, and the position to continue from.

        `wanted` selects keys; the others are skipped.
        """
        changed: list[tuple[int, str]] = []
        index = bisect_right(self._positions, position)
        while index < len(self._keys):
            changed_at, key = self._positions[index], self._keys[index]
            index += 1
            if self._latest[key] == changed_at and (wanted is None or wanted(key)):
                changed.append((changed_at, key))
                if len(changed) == limit:
                    return changed, changed_at
        return changed, self.position

    def _compact(self) -> None:
        """Remove entries of keys that changed again, and the oldest keys above the limit."""
        entries = zip(self._positions, self._keys, strict=True)
        live = [(changed_at, key) for changed_at, key in entries if self._latest[key] == changed_at]
        excess = len(live) - self._most
        if excess > 0:
            excess += self._most // 8  # so that the next key does not compact again
            self._floor = live[excess - 1][0]
            for _, key in live[:excess]:
                del self._latest[key]
            live = live[excess:]
        self._positions = array("Q", [changed_at for changed_at, _ in live])
        self._keys = [key for _, key in live]
