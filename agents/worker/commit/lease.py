"""The lease: how long this worker may write before the group could have given its partitions to another one.

Owns one moment. An assignment begins a lease, and every heartbeat that the group answers renews it by one session
timeout. A lease that has run out stays lost until the next assignment: a heartbeat that is answered late does not bring
it back. Renewed by `agents.worker.client.thread`, asked by `agents.worker.commit.outbox`,
`agents.worker.commit.handover` and `agents.worker.monitoring.session`. Decisions 12 and 30 say why.
"""

from __future__ import annotations

import time

SILENT_S = 7.0
"""Time without an answer from the group after which a worker is not ready, also while its lease still holds."""


class Lease:
    """Whether no other worker can have our partitions."""

    def __init__(self, session_s: float) -> None:
        """`session_s` is the session timeout of the group. No lease is held before the first assignment."""
        self._session_s = session_s
        self._until = 0.0

    def begin(self, since: float) -> None:
        """Begin a lease: the group gave us partitions at `since` (monotonic)."""
        self._until = since + self._session_s

    def renew(self, since: float) -> None:
        """Note that the group answered the heartbeat sent at `since` (monotonic), unless the lease is lost."""
        if self.holds():
            self._until = max(self._until, since + self._session_s)

    def end(self) -> None:
        """Note that the group does not count on us any more."""
        self._until = 0.0

    def holds(self) -> bool:
        """Whether the group still counts on us."""
        return time.monotonic() < self._until

    def silent_s(self) -> float:
        """Seconds since the last answer of the group; infinite before the first assignment and after `end`."""
        return time.monotonic() - self._until + self._session_s if self._until else float("inf")
