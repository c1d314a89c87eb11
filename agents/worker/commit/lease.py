"""The lease: how long this worker may write before the group could have given its partitions to another one.

Owns one moment. Every heartbeat that the group answers renews it by one session timeout; a worker that was frozen or
cut off finds that it has run out. Renewed by `agents.worker.client.consumer`, asked by `agents.worker.commit.outbox`
and `agents.worker.commit.handover`. Decision 12 says why.
"""

from __future__ import annotations

import time


class Lease:
    """Whether no other worker can have our partitions."""

    def __init__(self, session_s: float) -> None:
        """`session_s` is the session timeout of the group. No lease is held before the first assignment."""
        self._session_s = session_s
        self._until = 0.0

    def renew(self, since: float) -> None:
        """Note that the group counted on us at `since` (monotonic)."""
        self._until = since + self._session_s

    def holds(self) -> bool:
        """Whether the group still counts on us."""
        return time.monotonic() < self._until
