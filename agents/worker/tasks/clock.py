"""The broker's clock, as exactly as a client can know it.

Owns the only wall clock of a worker: the offset between this machine's clock and the broker's, measured with the
timestamps that the broker puts on records of a topic with `message.timestamp.type=LogAppendTime` (the changelog).

The engine has no clock. `agents.worker.tasks.processor` gives it this one's milliseconds as an argument of `Pair.step`
and `Pair.tick`. The engine uses them for two things: to refuse events of the future, and to advance stream time in a
partition that gets no events. All its other times come from events and records (`stream.engine.time`). So a worker
whose own clock is an hour off refuses no event and ages no account. docs/explanation/scores-over-time.md has the whole.
"""

from __future__ import annotations

import time


class BrokerClock:
    """Milliseconds since the epoch, by the broker's clock."""

    def __init__(self) -> None:
        """Use the machine's clock until the broker has acknowledged a record."""
        self.offset_ms = 0
        self.known = False

    def now_ms(self) -> int:
        """Return the time now."""
        return time.time_ns() // 1_000_000 + self.offset_ms

    def learn(self, broker_ms: int) -> None:
        """Set the offset by the broker's time of a record that was just acknowledged."""
        self.offset_ms = broker_ms - time.time_ns() // 1_000_000
        self.known = True
