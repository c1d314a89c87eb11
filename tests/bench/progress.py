"""Reads how far an engine is from outside: the offsets its consumer group has committed.

Owns waiting for progress. Must not know which engine it is. Called by the three measurements.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kafka import TopicPartition

from tests.bench.rules import PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kafka import KafkaAdminClient

    from tests.broker.child import ChildProcess

_POLL_S = 0.05


class EngineError(RuntimeError):
    """An engine ended, stood still or gave a wrong result; the message ends with its log."""


@dataclass(frozen=True)
class Progress:
    """Records committed, over all partitions, at a time of the monotonic clock in seconds."""

    at_s: float
    committed: int


def read_progress(admin: KafkaAdminClient, group: str, topics: Sequence[str]) -> Progress:
    """Ask the broker once."""
    sources = [TopicPartition(topic, partition) for topic in topics for partition in range(PARTITIONS)]
    offsets = admin.list_group_offsets({group: sources})[group]
    return Progress(time.monotonic(), sum(max(committed.offset, 0) for committed in offsets.values()))


def wait_for(
    read: Callable[[], Progress], process: ChildProcess, name: str, *, records: int, stalled_s: float = 180.0
) -> Progress:
    """Ask every 50 ms until at least so many records are committed.

    Args:
        read: asks once.
        process: the engine.
        name: what an error calls it.
        records: how many.
        stalled_s: how long nothing new may be committed.

    Raises:
        EngineError: the process ended, or committed nothing new for `stalled_s` seconds.

    """
    last = read()
    while True:
        now = read()
        if now.committed >= records:
            return now
        if now.committed > last.committed:
            last = now
        # Waiting for the process to end is the pause between two questions.
        code = process.wait(_POLL_S)
        if code is not None:
            message = (
                f"{name} ended with exit code {code} at {now.committed} of {records} records:\n{process.log_tail()}"
            )
            raise EngineError(message)
        if now.at_s - last.at_s > stalled_s:
            message = f"{name} stands still at {now.committed} of {records} records:\n{process.log_tail()}"
            raise EngineError(message)
