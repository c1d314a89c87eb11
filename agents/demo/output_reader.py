"""Consume the worker's output topics and keep a `Status` of all accounts up to date; count what people do.

The consumer has no group: it reads every partition from a given position and commits nothing. Called by
`agents.demo.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.demo.status import Status
from schemas.events import CONTROL_SOURCE
from schemas.outputs import Alert, ScoreChange, ScoreMessage
from schemas.records import UnreadableError, read_key, read_message
from schemas.topics import ALERTS, CHANGES, SCORES

OUTPUTS = (SCORES, CHANGES, ALERTS)
LONGEST_FETCH_MS = 200
MOST_RECORDS = 4_000
QUIET_FETCHES = 4
"""After this many empty fetches in a row, the outputs count as complete."""


class OutputReader:
    """Reads the outputs: `connect`, then `run` until cancelled, then `close`. Updates `status` with each record.

    `connection`: broker and credentials as options of aiokafka's clients. `from_end` skips the outputs of earlier runs;
    without it, everything is read. The topic `controls` is always read from its beginning: the demo itself sends
    nothing there, so its records are what people did, on the board or elsewhere. Topics are without `prefix`.
    """

    def __init__(self, connection: Mapping[str, Any], *, from_end: bool, prefix: str = "") -> None:
        self.status = Status()
        self.unreadable = 0
        """Output records that cannot be read."""
        self.controls = 0
        """Records of the topic `controls`."""
        self._from_end = from_end
        self._prefix = prefix
        self._options = dict(
            connection,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=LONGEST_FETCH_MS,
        )
        self._consumer: Any = None
        self._quiet = 0
        self._readers: Mapping[str, Callable[[Any], None]] = MappingProxyType(
            {SCORES: self._score, CHANGES: self._change, ALERTS: self._alert, CONTROL_SOURCE: self._control}
        )

    @property
    def is_quiet(self) -> bool:
        """Whether the last fetches were empty, so that everything published so far has probably been read."""
        return self._quiet >= QUIET_FETCHES

    def expect_more(self) -> None:
        """Reset the count of empty fetches."""
        self._quiet = 0

    async def connect(self, partitions: Mapping[str, int]) -> None:
        """Assign all partitions of the topics; `partitions`: topic to number of partitions."""
        self._consumer = AIOKafkaConsumer(**self._options)
        await self._consumer.start()
        assigned = self._all({topic: partitions[topic] for topic in OUTPUTS})
        controls = self._all({CONTROL_SOURCE: partitions[CONTROL_SOURCE]})
        self._consumer.assign([*assigned, *controls])
        if self._from_end:
            await self._consumer.seek_to_end(*assigned)
            for partition in assigned:
                await self._consumer.position(partition)  # resolved now, before the first new record

    async def stored(self, partitions: Mapping[str, int]) -> int:
        """Records in these topics (name to partitions); an upper bound for compacted topics."""
        stored = self._all(partitions)
        begins = await self._consumer.beginning_offsets(stored)
        ends = await self._consumer.end_offsets(stored)
        return sum(ends[partition] - begins[partition] for partition in stored)

    def _all(self, partitions: Mapping[str, int]) -> list[TopicPartition]:
        prefix = self._prefix
        return [
            TopicPartition(prefix + topic, number) for topic, count in partitions.items() for number in range(count)
        ]

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            fetched = await self._consumer.getmany(timeout_ms=LONGEST_FETCH_MS, max_records=MOST_RECORDS)
            self._quiet = 0 if fetched else self._quiet + 1
            for partition, records in fetched.items():
                for record in records:
                    self.read(partition.topic.removeprefix(self._prefix), record)

    def read(self, topic: str, record: Any) -> None:
        """Apply one record; one that cannot be read is counted."""
        try:
            self._readers[topic](record)
        except UnreadableError:
            self.unreadable += 1

    async def close(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None

    def _score(self, record: Any) -> None:
        if record.value is None:
            self.status.remove_score(read_key(record.key))
        else:
            self.status.add_score(read_message(ScoreMessage, record.value))

    def _change(self, record: Any) -> None:
        if record.value is not None:
            self.status.add_change(read_message(ScoreChange, record.value))

    def _alert(self, record: Any) -> None:
        if record.value is not None:
            self.status.add_alert(read_message(Alert, record.value))

    def _control(self, _record: Any) -> None:
        self.controls += 1
