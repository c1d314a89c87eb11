"""How far the worker has come with what was sent, how fast it goes, and when to stop sending.

Owns this arithmetic. Pure: the clock is handed in, as seconds of any steady clock. Called by `agents.demo.session`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

RATE_OVER_S = 3.0
SLOWEST_WORKER = 20_000.0
"""Events a second assumed of a worker that has not shown its speed yet."""
WATCHED_RUN_S = 60.0
"""How long the company plays when somebody watches, or when the worker is killed, and no time is given."""
COMMIT_S = 2.0
"""How far a worker's count trails its work: it counts what it has committed."""
TAIL_S = 2.5
"""From the last event settled to everything shown and stopped."""
RESTART_S = 12.0
"""From killing a worker to its being ready again, on the embedded broker."""
SHORTEST_RUN_S = 1.0
HASTE = 1.07
"""The run ends a little before there is no more time, as pauses and estimates are what they are."""


class Progress:
    """Follows the worker's own count of settled events; `already_there` lay in the topics before anything was sent."""

    def __init__(self, already_there: int) -> None:
        self.outcomes: Mapping[str, int] = {}
        """Outcome (applied, late, …) to events, as of the last reading."""
        self.moved_s: float | None = None
        """When the count last changed."""
        self._already_there = already_there
        self._history: deque[tuple[float, int]] = deque()

    @property
    def settled(self) -> int:
        """Events that the worker is done with, whatever their outcome."""
        return sum(self.outcomes.values())

    def backlog(self, sent: int) -> int:
        """Events yet to be settled; below 0 when more were settled than there are, which no worker may do."""
        return self._already_there + sent - self.settled

    def update(self, outcomes: Mapping[str, int], now_s: float) -> None:
        """Take in what the worker says at that moment."""
        before = self.settled
        self.outcomes = outcomes
        if self.settled != before or self.moved_s is None:
            self.moved_s = now_s
        self._history.append((now_s, self.settled))
        while self._history[0][0] < now_s - RATE_OVER_S and len(self._history) > 1:
            self._history.popleft()

    def events_per_second(self) -> float:
        """Settled events a second over the last `RATE_OVER_S` seconds; never negative."""
        if len(self._history) < 2:  # noqa: PLR2004  a rate needs two points
            return 0.0
        (first_s, first), (last_s, last) = self._history[0], self._history[-1]
        return max(0.0, (last - first) / (last_s - first_s)) if last_s > first_s else 0.0

    def leaves_no_more_time(self, sent: int, now_s: float, deadline_s: float | None) -> bool:
        """Whether sending has to end now for everything sent to be applied by the deadline."""
        if deadline_s is None:
            return False
        speed = max(self.events_per_second(), SLOWEST_WORKER)
        return now_s + max(COMMIT_S, self.backlog(sent) / speed) + TAIL_S >= deadline_s


def pace(events: int, now_s: float, deadline_s: float | None, *, unhurried: bool) -> float | None:
    """Events a second to send so that the whole run fits the time there is; None is as fast as possible.

    With a deadline the run fills the time until then; when none is left, a short part of it is played all the same.
    `unhurried`, for somebody who watches: it takes `WATCHED_RUN_S`.
    """
    if deadline_s is not None:
        left_s = deadline_s - TAIL_S - COMMIT_S - now_s
        return HASTE * events / left_s if left_s > SHORTEST_RUN_S else SLOWEST_WORKER
    return events / WATCHED_RUN_S if unhurried else None


def may_kill(kills: int, now_s: float, deadline_s: float | None) -> bool:
    """Whether a worker killed now is back early enough; the first kill happens in any case."""
    return kills == 0 or deadline_s is None or now_s + RESTART_S + TAIL_S < deadline_s
