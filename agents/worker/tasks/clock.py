"""The broker's clock, as exactly as a client can know it.

Owns the only wall clock of a worker: how far the broker's clock is from the time since this machine's start, measured
with the timestamps that the broker puts on records of a topic with `message.timestamp.type=LogAppendTime` (the
changelog).

The engine has no clock. `agents.worker.tasks.processor` gives it this one's milliseconds as an argument of `Pair.step`
and `Pair.tick`. The engine uses them for two things: to refuse events of the future, and to advance stream time in a
partition that gets no events. All its other times come from events and records (`stream.engine.time`). Records that the
worker writes have this time, too. So a worker whose own clock is hours off, or is set while it runs, refuses no event,
ages no account, and writes nothing that the broker refuses. docs/explanation/scores-over-time.md has the whole.
"""

from __future__ import annotations

import time

_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that nobody sets, and that goes on while the machine sleeps."""


def _since_boot_ms() -> int:
    return time.clock_gettime_ns(_SINCE_BOOT) // 1_000_000


class BrokerClock:
    """Milliseconds since the epoch, by the broker's clock."""

    def __init__(self) -> None:
        """Use the machine's clock until the broker has acknowledged a record."""
        self._booted_ms: int | None = None
        """When the machine was started, by the broker's clock; None while that is not known."""

    def now_ms(self) -> int:
        """Return the time now."""
        return time.time_ns() // 1_000_000 if self._booted_ms is None else self._booted_ms + _since_boot_ms()

    def learn(self, broker_ms: int) -> None:
        """Set the clock by the broker's time of a record that was just acknowledged."""
        self._booted_ms = broker_ms - _since_boot_ms()
