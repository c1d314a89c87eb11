"""Search the input topics for raw events of one account.

Owns the consumers and the limits of a search. It reads the account's partition of each topic backwards, block by block,
until it has enough events, has read too many records, or time is up. It returns the offsets where it stopped, so that
the next search continues there. Called by `agents.board.views.timeline`.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from agents.board.views.listing import CursorError
from agents.board.web.responses import UnavailableError
from agents.kafka.partitions import partition_of
from agents.process.errors import error_text
from agents.settings.settings import Settings
from schemas.records import FIRST_MS, LAST_MS, UnreadableError, read_time

FIRST_BLOCK, LARGEST_BLOCK = 500, 4_000
MOST_SCANNED = 60_000
MOST_SEARCHES = 4
"""Searches at the same time, each with a consumer of its own, so that a slow one does not hold up the others."""
PATIENCE_S = 2.0
BLOCK_PATIENCE_S = 5.0
_WAIT_S = 1.0
_POLL_MS = 200


class RawEvent(NamedTuple):
    """A record of an input topic: its offset, its time (epoch ms) and its value.

    The time is the event's own; of a record that cannot be read, the time of the record.
    """

    topic: str
    offset: int
    time: int
    value: bytes


class SearchResult(NamedTuple):
    """Events of an account up to a time.

    `offsets`: where the search of each topic continues, 0 if it is complete. `horizon` (epoch ms): all topics were
    searched down to this time, as far as their records are in order. `scanned`: the number of records read.
    """

    records: list[RawEvent]
    offsets: dict[str, int]
    horizon: int
    scanned: int


class Inputs(Protocol):
    """Searches for events of an account."""

    def find(
        self, account: str, topics: Sequence[str], offsets: Mapping[str, int], until: int, limit: int
    ) -> SearchResult:
        """The newest events, about `limit`, backwards from `offsets` (by topic; without one, from the end).

        Events later than `until` (epoch ms) are skipped. Raises `UnavailableError`; `CursorError` for an offset beyond
        the end of its topic.
        """

    def close(self) -> None:
        """Close the connection."""


class NoInputs:
    """The inputs of a board without a broker."""

    def find(
        self, account: str, topics: Sequence[str], offsets: Mapping[str, int], until: int, limit: int
    ) -> SearchResult:
        """Return no events."""
        del account, offsets, until, limit
        return SearchResult([], dict.fromkeys(topics, 0), 0, 0)

    def close(self) -> None:
        """Do nothing."""


class KafkaInputs:
    """Searches with consumers without a group; each runs one search at a time."""

    def __init__(self, settings: Settings) -> None:
        """Store the settings. A search connects if no connected consumer is idle."""
        self._settings = settings
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(MOST_SEARCHES):
            self._idle.put(None)
        self._ends: dict[TopicPartition, int] = {}
        """The high watermarks seen so far: the end that the broker gives may be too low (see `agents.demo.broker`)."""

    def find(
        self, account: str, topics: Sequence[str], offsets: Mapping[str, int], until: int, limit: int
    ) -> SearchResult:
        """See `Inputs`."""
        try:
            consumer = self._idle.get(timeout=_WAIT_S)
        except queue.Empty:
            msg = f"{MOST_SEARCHES} other timelines are being read; try again"
            raise UnavailableError(msg) from None
        try:
            consumer = consumer or self._connect()
            searches = self._searches(consumer, account.encode(), topics, offsets)
            return self._search(consumer, searches, topics, until, limit)
        except (KafkaError, OSError) as error:
            _close(consumer)
            consumer = None
            msg = f"the input topics could not be read: {error_text(error)}"
            raise UnavailableError(msg) from error
        finally:
            self._idle.put(consumer)

    def close(self) -> None:
        """Close the connections that no search uses."""
        with contextlib.suppress(queue.Empty):
            while True:
                _close(self._idle.get_nowait())

    def _connect(self) -> Any:
        return KafkaConsumer(
            **self._settings.kafka_python(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=LARGEST_BLOCK,
        )

    def _search(
        self, consumer: Any, searches: list[_Search], topics: Sequence[str], until: int, limit: int
    ) -> SearchResult:
        deadline_s = time.monotonic() + PATIENCE_S
        events: list[RawEvent] = []
        scanned, due = 0, [search for search in searches if search.left]
        while due:
            for search, records in _blocks(consumer, due).items():
                scanned += len(records)
                events += [raw for raw in search.collect(records) if raw.time <= until]
                self._ends[search.partition] = max(
                    self._ends.get(search.partition, 0), consumer.highwater(search.partition) or 0
                )
            left = [search for search in searches if search.left]
            # Continue the topic that has reached the least far back, so that all topics reach about the same time.
            due = [max(left, key=lambda search: search.reached)] if left else []
            enough = due and sum(raw.time > due[0].reached for raw in events) >= limit
            if enough or scanned >= MOST_SCANNED or time.monotonic() > deadline_s:
                break
        horizon = max((search.reached for search in searches if search.left), default=0)
        ends = {search.partition.topic: search.end if search.left else 0 for search in searches}
        return SearchResult(events, {topic: ends.get(topic, 0) for topic in topics}, horizon, scanned)

    def _searches(self, consumer: Any, key: bytes, topics: Sequence[str], offsets: Mapping[str, int]) -> list[_Search]:
        existing = consumer.topics()
        partitions = []
        for topic in topics:
            if topic in existing:
                count = len(consumer.partitions_for_topic(topic) or ())
                number = partition_of(key, min(self._settings.partitions, max(count, 1)))
                partitions.append(TopicPartition(topic, number))
        begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        for partition in partitions:
            if offsets.get(partition.topic, 0) > max(ends[partition], self._ends.get(partition, 0)):
                msg = f"cursor: {partition.topic} ends before it; leave it out to start again"
                raise CursorError(msg)
        return [
            _Search(partition, key, begins[partition], ends[partition], offsets.get(partition.topic))
            for partition in partitions
        ]


def _close(consumer: Any) -> None:
    if consumer is not None:
        with contextlib.suppress(KafkaError, OSError):
            consumer.close()


def _time_of(value: bytes | None) -> int | None:
    try:
        return read_time(value)
    except UnreadableError:
        return None


class _Search:
    """A search backwards through one partition, from `end`."""

    def __init__(self, partition: TopicPartition, key: bytes, begin: int, end: int, offset: int | None) -> None:
        self.partition = partition
        self.end = end if offset is None else offset
        self.from_end = offset is None
        """Whether the broker gave `end`, which may be too low (see `agents.demo.broker`); a fetch corrects it."""
        self.reached = 2**62
        """The time of the oldest event read."""
        self._key, self._begin, self._first, self._block = key, begin, begin, FIRST_BLOCK

    @property
    def left(self) -> bool:
        """Whether there are older records to read."""
        return self.end > self._begin

    def begin_block(self) -> int:
        """Start the next block and return its first offset."""
        self._first = max(self._begin, self.end - self._block)
        self._block = min(self._block * 2, LARGEST_BLOCK)
        return self._first

    def is_read(self, consumer: Any) -> bool:
        """Whether the block was read to its end."""
        if self.from_end and (end := consumer.highwater(self.partition)) is not None:
            self.end, self.from_end = max(self.end, end), False
        return not self.from_end and consumer.position(self.partition) >= self.end

    def collect(self, records: list[Any]) -> list[RawEvent]:
        """The account's events of a block; a record that cannot be read has the time of the record."""
        records = [record for record in records if record.offset < self.end]
        self.end = self._first
        oldest = _time_of(records[0].value) if records else None
        self.reached = self.reached if oldest is None else min(self.reached, oldest)
        topic, own = self.partition.topic, [record for record in records if record.key == self._key]
        events = []
        for record in own:
            if record.value is not None:  # a tombstone is no event
                time = _time_of(record.value)
                time = min(max(record.timestamp, FIRST_MS), LAST_MS) if time is None else time
                events.append(RawEvent(topic, record.offset, time, record.value))
        return events


def _blocks(consumer: Any, searches: list[_Search]) -> dict[_Search, list[Any]]:
    """The records of the next block of each search, and perhaps later ones. Raises `KafkaTimeoutError`."""
    blocks: dict[_Search, list[Any]] = {search: [] for search in searches}
    by_partition = {search.partition: search for search in searches}
    consumer.assign(list(by_partition))
    consumer.resume(*by_partition)  # a partition that an earlier call paused is still paused
    for partition, search in by_partition.items():
        consumer.seek(partition, search.begin_block())
    deadline_s = time.monotonic() + BLOCK_PATIENCE_S
    while waiting := [search for search in searches if not search.is_read(consumer)]:
        if time.monotonic() > deadline_s:
            msg = f"reading {', '.join(search.partition.topic for search in waiting)} takes too long"
            raise KafkaTimeoutError(msg)
        consumer.pause(*(search.partition for search in searches if search not in waiting))
        for partition, records in consumer.poll(timeout_ms=_POLL_MS).items():
            blocks[by_partition[partition]] += records
    return blocks
