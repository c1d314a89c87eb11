"""Delivery queues: items of one queue are tried in order, each until it succeeds; queues do not wait for each other.

Owns whose turn it is and how long to pause after a failure. An item that fails holds up its own queue and no other.
Time (seconds of any clock) and chance are arguments. Called by `agents.sinks.delivery_pool`.
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
    """Seconds to pause after `tries` failed tries: doubled each time from 1 up to `longest_s`, half of it by chance.

    `chance` is in [0, 1): spread over it, those that failed together do not come back together ("equal jitter",
    M. Brooker, Exponential Backoff And Jitter, 2015).
    """
    full = min(longest_s, FIRST_PAUSE_S * 2.0 ** min(tries - 1, _MOST_DOUBLINGS))
    return full / 2 + full / 2 * chance


@dataclass(slots=True)
class _Queue(Generic[T]):
    items: deque[T] = field(default_factory=deque)
    tries: int = 0
    since_s: float = 0.0


class Queues(Generic[T]):
    """All queues, by key. A queue waits for its time, or its head is being tried; an empty one is removed."""

    def __init__(self) -> None:
        """No queue."""
        self._queues: dict[Hashable, _Queue[T]] = {}
        self._schedule: list[tuple[float, int, Hashable]] = []
        self._sequence = 0

    def put(self, key: Hashable, item: T, now_s: float) -> None:
        """Append an item to a queue."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue()
            self.retry(key, now_s)
        queue.items.append(item)

    def start(self, now_s: float) -> tuple[Hashable, T] | None:
        """Begin a try of the head of the queue whose time came first; None while no queue's time has come."""
        if not self._schedule or self._schedule[0][0] > now_s:
            return None
        key = heappop(self._schedule)[2]
        queue = self._queues[key]
        if not queue.tries:
            queue.since_s = now_s
        queue.tries += 1
        return key, queue.items[0]

    def due_in(self, now_s: float) -> float | None:
        """Seconds until a queue's time comes, 0 when it has; None when no queue waits."""
        return max(0.0, self._schedule[0][0] - now_s) if self._schedule else None

    def tries(self, key: Hashable) -> int:
        """How often the head of a queue was tried."""
        return self._queues[key].tries

    def tried_for(self, key: Hashable, now_s: float) -> float:
        """Seconds since the first try of the head of a queue."""
        return now_s - self._queues[key].since_s

    def retry(self, key: Hashable, at_s: float) -> None:
        """Schedule another try of the head of a queue, after it failed."""
        self._sequence += 1
        heappush(self._schedule, (at_s, self._sequence, key))

    def done(self, key: Hashable, now_s: float) -> None:
        """Remove the head of a queue; the next item may be tried at once."""
        queue = self._queues[key]
        queue.items.popleft()
        queue.tries = 0
        if queue.items:
            self.retry(key, now_s)
        else:
            del self._queues[key]
