"""Reads what the worker publishes into a `Status`.

Owns the consumer of the three output topics. Must not know how they are shown. Called by `agents.demo.run`.

It belongs to no consumer group: it reads every partition from where it begins, and commits nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.demo.status import Status
from schemas.outputs import Alert, ScoreChange, ScoreMessage
from schemas.topics import ALERTS, CHANGES, SCORES

OUTPUTS = (SCORES, CHANGES, ALERTS)
LONGEST_FETCH_MS = 200
MOST_RECORDS = 4_000
QUIET_FETCHES = 4
"""So many empty fetches in a row mean that nothing more is coming."""


class OutputReader:
    """Follows the outputs; `connect`, then `run` until cancelled, then `close`. `status` is up to date all the while.

    `connection`: the broker and the credentials, as aiokafka's clients take them. `from_end` leaves out what other runs
    have published before; without it everything is read.
    """

    def __init__(self, connection: Mapping[str, Any], *, from_end: bool) -> None:
        self.status = Status()
        self.unreadable = 0
        """Records that are not what this version publishes."""
        self._from_end = from_end
        self._options = dict(
            connection,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=LONGEST_FETCH_MS,
        )
        self._consumer: Any = None
        self._quiet = 0
        self._readers: Mapping[str, Callable[[Any], None]] = MappingProxyType(
            {SCORES: self._score, CHANGES: self._change, ALERTS: self._alert}
        )
        self._scores = msgspec.json.Decoder(ScoreMessage)
        self._changes = msgspec.json.Decoder(ScoreChange)
        self._alerts = msgspec.json.Decoder(Alert)

    @property
    def is_quiet(self) -> bool:
        """Whether everything published so far has been read, as far as the broker tells."""
        return self._quiet >= QUIET_FETCHES

    def expect_more(self) -> None:
        """Start counting quiet fetches anew."""
        self._quiet = 0

    async def connect(self, partitions: Mapping[str, int]) -> None:
        """Begin at the topics' partitions: topic name to their number."""
        self._consumer = AIOKafkaConsumer(**self._options)
        await self._consumer.start()
        assigned = [TopicPartition(topic, number) for topic in OUTPUTS for number in range(partitions[topic])]
        self._consumer.assign(assigned)
        if self._from_end:
            await self._consumer.seek_to_end(*assigned)
            for partition in assigned:
                await self._consumer.position(partition)  # resolved now, not when the first record is already there

    async def stored(self, partitions: Mapping[str, int]) -> int:
        """Records that these topics (name to partitions) hold; a compacted topic may hold fewer than it seems."""
        stored = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
        begins = await self._consumer.beginning_offsets(stored)
        ends = await self._consumer.end_offsets(stored)
        return sum(ends[partition] - begins[partition] for partition in stored)

    async def run(self) -> None:
        """Read for ever."""
        while True:
            fetched = await self._consumer.getmany(timeout_ms=LONGEST_FETCH_MS, max_records=MOST_RECORDS)
            self._quiet = 0 if fetched else self._quiet + 1
            for partition, records in fetched.items():
                read = self._readers[partition.topic]
                for record in records:
                    try:
                        read(record)
                    except msgspec.MsgspecError:
                        self.unreadable += 1

    async def close(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None

    def _score(self, record: Any) -> None:
        if record.value is None:
            self.status.remove_score((record.key or b"").decode(errors="replace"))
        else:
            self.status.add_score(self._scores.decode(record.value))

    def _change(self, record: Any) -> None:
        if record.value is not None:
            self.status.add_change(self._changes.decode(record.value))

    def _alert(self, record: Any) -> None:
        if record.value is not None:
            self.status.add_alert(self._alerts.decode(record.value))
