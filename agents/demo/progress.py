"""Compute the worker's backlog and speed, and when the demo has to stop sending.

Pure: the time is passed in, as seconds of a monotonic clock. Called by `agents.demo.session`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

RATE_OVER_S = 3.0
SLOWEST_WORKER = 20_000.0
"""Least speed assumed of a worker, in events per second."""
WATCHED_RUN_S = 60.0
"""Length of a run without `--seconds` on a terminal or with `--kill`."""
COMMIT_S = 2.0
"""Delay of a worker's count behind its work: it counts what it has committed."""
TAIL_S = 2.5
"""From the last settled event to the end of the demo."""
RESTART_S = 12.0
"""From the kill of a worker until it is ready again, on the embedded broker."""
SHORTEST_RUN_S = 1.0
SPEED_MARGIN = 1.07
"""Sending is a little faster than needed, because pauses and estimates are inexact."""


class Progress:
    """Tracks the worker's count of settled events; `stored` events were in the topics before the demo sent any."""

    def __init__(self, stored: int) -> None:
        self.outcomes: Mapping[str, int] = {}
        """Events by outcome (applied, late, …), as of the last update."""
        self.moved_s: float | None = None
        """Time at which the count last changed."""
        self._stored = stored
        self._history: deque[tuple[float, int]] = deque()

    @property
    def settled(self) -> int:
        """Events that the worker has finished, with any outcome."""
        return sum(self.outcomes.values())

    def backlog(self, sent: int) -> int:
        """Events not settled yet; below 0 if more were settled than exist, which is an error of the worker."""
        return self._stored + sent - self.settled

    def update(self, outcomes: Mapping[str, int], now_s: float) -> None:
        """Record the worker's counts as of `now_s`."""
        before = self.settled
        self.outcomes = outcomes
        if self.settled != before or self.moved_s is None:
            self.moved_s = now_s
        self._history.append((now_s, self.settled))
        while self._history[0][0] < now_s - RATE_OVER_S and len(self._history) > 1:
            self._history.popleft()

    def events_per_second(self) -> float:
        """Settled events per second over the last `RATE_OVER_S` seconds; never negative."""
        if len(self._history) < 2:  # noqa: PLR2004  a rate needs two points
            return 0.0
        (first_s, first), (last_s, last) = self._history[0], self._history[-1]
        return max(0.0, (last - first) / (last_s - first_s)) if last_s > first_s else 0.0

    def leaves_no_more_time(self, sent: int, now_s: float, deadline_s: float | None) -> bool:
        """Whether sending has to stop now so that everything sent is applied by the deadline."""
        if deadline_s is None:
            return False
        speed = max(self.events_per_second(), SLOWEST_WORKER)
        return now_s + max(COMMIT_S, self.backlog(sent) / speed) + TAIL_S >= deadline_s


def pace(events: int, now_s: float, deadline_s: float | None, *, watched: bool) -> float | None:
    """Events per second to send so that the run takes the available time; None is as fast as possible.

    With a deadline, the run takes the time until it; if none is left, a few events are sent all the same. Without one,
    a `watched` run takes `WATCHED_RUN_S`.
    """
    if deadline_s is not None:
        left_s = deadline_s - TAIL_S - COMMIT_S - now_s
        return SPEED_MARGIN * events / left_s if left_s > SHORTEST_RUN_S else SLOWEST_WORKER
    return events / WATCHED_RUN_S if watched else None


def may_kill(kills: int, now_s: float, deadline_s: float | None) -> bool:
    """Whether a worker killed now is ready again before the deadline; the first kill is always allowed."""
    return kills == 0 or deadline_s is None or now_s + RESTART_S + TAIL_S < deadline_s
