"""The broker's clock, as near as a client can know it.

Owns the offset between this machine's clock and the broker's, learned from the timestamps the broker puts on records
of a topic with `message.timestamp.type=LogAppendTime` (the changelog). Only this decides what lies in the future and
when an idle partition ages, so that a worker whose own clock is an hour off dead-letters nothing and ages nobody.
"""

from __future__ import annotations

import time


class BrokerClock:
    """Milliseconds since the epoch, by the broker."""

    def __init__(self) -> None:
        """Trust the machine until the broker has spoken."""
        self.offset_ms = 0
        self.known = False

    def now_ms(self) -> int:
        """The time now."""
        return time.time_ns() // 1_000_000 + self.offset_ms

    def learn(self, broker_ms: int) -> None:
        """Take the broker's time of a record that was just acknowledged."""
        self.offset_ms = broker_ms - time.time_ns() // 1_000_000
        self.known = True
