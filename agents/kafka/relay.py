"""The loop of a process that reads topics and writes what becomes of their records.

Owns the order of steps: what is written of a poll is acknowledged before its offsets are committed, so after a crash
records are read and written again. Must not know what is written. Called by `agents.mapper.mapper` and
`agents.derived.rows`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import structlog
from kafka import KafkaConsumer
from kafka.errors import CommitFailedError, RebalanceInProgressError

STUCK_S = 120.0
"""Without a step of the loop for this long, the process should be restarted."""
_POLL_MS = 500
_PAUSE_S = 0.2
_log = structlog.get_logger(__name__)

Write = Callable[[Sequence[Any]], int]
"""Write what becomes of records, wait until it is acknowledged, and return how much was written."""


class StoppedError(Exception):
    """Raised by `write` where it was asked to stop before it could write: what was polled is not committed."""


class Relay:
    """Polls, writes and commits until it is asked to stop."""

    def __init__(self, consumer: KafkaConsumer, group: str, on_commit: Callable[[], None] = lambda: None) -> None:
        """`consumer` is a member of the consumer group `group`; `on_commit` is called after each commit."""
        self._consumer, self._group, self._on_commit = consumer, group, on_commit
        self.stopping, self._stepped_s = False, time.monotonic()

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask it to end after the records of the last poll."""
        self.stopping = True

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until it is asked to stop."""
        end_s = time.monotonic() + seconds
        while not self.stopping and (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _PAUSE_S))

    def stepped(self) -> None:
        """Note that the process makes progress; called also within long writes."""
        self._stepped_s = time.monotonic()

    def problems(self) -> list[str]:
        """Why the process should be restarted."""
        idle_s = time.monotonic() - self._stepped_s
        return [f"the loop has not run for {idle_s:.0f} s"] if idle_s > STUCK_S else []

    def run(self, topics: Sequence[str], write: Write, *, ends: Mapping[Any, int] | None = None) -> int:
        """Read until asked to stop, or up to the offsets `ends` by partition; returns how much was written.

        `write` gets every poll, also an empty one. Raises KafkaError, and what `write` raises but `StoppedError`.
        """
        written = 0
        self._consumer.subscribe(list(topics))
        while not self.stopping:
            self.stepped()
            polled = self._consumer.poll(timeout_ms=_POLL_MS)
            try:
                written += write([record for records in polled.values() for record in records])
            except StoppedError:
                break
            if polled or ends is not None:  # with `ends` also the position after markers of transactions
                self._commit()
            if ends is not None and not polled and self._has_reached(ends):
                break
        return written

    def _has_reached(self, ends: Mapping[Any, int]) -> bool:
        """Whether everything up to these offsets is written, by this process or another one of the group."""
        return all((self._consumer.committed(partition) or 0) >= end for partition, end in ends.items() if end)

    def _commit(self) -> None:
        try:
            self._consumer.commit()
        except (CommitFailedError, RebalanceInProgressError):
            _log.warning("commit_failed", group=self._group, will="read and write the records again")
        else:
            self._on_commit()
