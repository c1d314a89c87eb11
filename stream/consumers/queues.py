"""Things to be done one after another in a line, many lines beside each other, each thing again until it succeeds.

Owns whose turn it is and how long to pause after a failure. Order holds within a line: what comes behind a thing that
fails waits, and no other line does. Time (seconds of any clock) and chance are arguments. Called by `agents.sinks`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Generic, TypeVar

FIRST_PAUSE_S = 1.0
_MOST_DOUBLINGS = 20

T = TypeVar("T")


def pause_s(tries: int, longest_s: float, chance: float) -> float:
    """Pause after so many failed tries (1 or more): doubled each time from 1 s up to `longest_s`, half of it by chance.

    `chance` is in [0, 1): spread over it, those that failed together do not come back together ("equal jitter",
    M. Brooker, Exponential Backoff And Jitter, 2015).
    """
    full = min(longest_s, FIRST_PAUSE_S * 2.0 ** min(tries - 1, _MOST_DOUBLINGS))
    return full / 2 + full / 2 * chance


@dataclass(slots=True)
class _Line(Generic[T]):
    things: deque[T] = field(default_factory=deque)
    tries: int = 0
    since_s: float = 0.0


class RetryQueues(Generic[T]):
    """All lines. A line is waiting for its time, or under way, or empty (then it is forgotten)."""

    def __init__(self) -> None:
        """Nothing to do."""
        self._lines: dict[Hashable, _Line[T]] = {}
        self._due: list[tuple[float, int, Hashable]] = []
        self._turn = 0

    def put(self, key: Hashable, thing: T, now_s: float) -> None:
        """A thing more for the end of a line."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
            self._push(now_s, key)
        line.things.append(thing)

    def start(self, now_s: float) -> tuple[Hashable, T] | None:
        """The head of the line whose time came first, now under way; None while no line's has come."""
        if not self._due or self._due[0][0] > now_s:
            return None
        key = heappop(self._due)[2]
        line = self._lines[key]
        if not line.tries:
            line.since_s = now_s
        line.tries += 1
        return key, line.things[0]

    def due_in(self, now_s: float) -> float | None:
        """Seconds until a line's time comes, 0 when it has; None when nothing waits for its time."""
        return max(0.0, self._due[0][0] - now_s) if self._due else None

    def tries(self, key: Hashable) -> int:
        """How often the head of a line was tried."""
        return self._lines[key].tries

    def tried_for(self, key: Hashable, now_s: float) -> float:
        """Seconds since the head of a line was tried first."""
        return now_s - self._lines[key].since_s

    def again(self, key: Hashable, at_s: float) -> None:
        """The head of a line failed: its line's turn comes again at `at_s`."""
        self._push(at_s, key)

    def done(self, key: Hashable, now_s: float) -> None:
        """The head of a line is done with: the next one's turn comes."""
        line = self._lines[key]
        line.things.popleft()
        line.tries = 0
        if line.things:
            self._push(now_s, key)
        else:
            del self._lines[key]

    def _push(self, at_s: float, key: Hashable) -> None:
        self._turn += 1
        heappush(self._due, (at_s, self._turn, key))
