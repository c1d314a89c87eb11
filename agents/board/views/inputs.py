"""Search the input topics for raw events of one account.

Owns the consumer and the limits of a search. It reads the account's partition of each topic backwards, block by block,
until it has enough events, has read too many records, or time is up. It returns the offsets where it stopped, so that
the next search continues there. Called by `agents.board.views.timeline`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from agents.board.web.responses import UnavailableError
from agents.kafka.partitions import partition_of
from agents.settings.settings import Settings
from schemas.codecs import instant_ms
from schemas.events import Instant

FIRST_BLOCK, LARGEST_BLOCK = 500, 4_000
MOST_SCANNED = 60_000
PATIENCE_S = 2.0
BLOCK_PATIENCE_S = 5.0
_WAIT_S = 1.0
_POLL_MS = 200


class RawEvent(NamedTuple):
    """A record of an input topic: its offset, the event's own time (epoch ms) and its value."""

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

        Events later than `until` (epoch ms) are skipped. Raises `UnavailableError`.
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
    """Searches with one consumer without a group, one search at a time."""

    def __init__(self, settings: Settings) -> None:
        """Store the settings. The first search connects."""
        self._settings = settings
        self._lock = threading.Lock()
        self._consumer: Any = None

    def find(
        self, account: str, topics: Sequence[str], offsets: Mapping[str, int], until: int, limit: int
    ) -> SearchResult:
        """See `Inputs`."""
        if not self._lock.acquire(timeout=_WAIT_S):
            msg = "other timelines are being read; try again"
            raise UnavailableError(msg)
        try:
            return self._search(account, topics, offsets, until, limit)
        except (KafkaError, OSError) as error:
            self._drop()
            msg = f"the input topics could not be read: {type(error).__name__} {error}"
            raise UnavailableError(msg) from error
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._consumer is not None:
            with contextlib.suppress(KafkaError, OSError):
                self._consumer.close()
            self._consumer = None

    def _search(
        self, account: str, topics: Sequence[str], offsets: Mapping[str, int], until: int, limit: int
    ) -> SearchResult:
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                **self._settings.kafka_python(),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_poll_records=LARGEST_BLOCK,
            )
        searches = self._searches(account.encode(), topics, offsets)
        deadline_s = time.monotonic() + PATIENCE_S
        events: list[RawEvent] = []
        scanned, due = 0, [search for search in searches if search.left]
        while due:
            for search, records in _blocks(self._consumer, due).items():
                scanned += len(records)
                events += [raw for raw in search.collect(records) if raw.time <= until]
            left = [search for search in searches if search.left]
            # Continue the topic that has reached the least far back, so that all topics reach about the same time.
            due = [max(left, key=lambda search: search.reached)] if left else []
            enough = due and sum(raw.time > due[0].reached for raw in events) >= limit
            if enough or scanned >= MOST_SCANNED or time.monotonic() > deadline_s:
                break
        horizon = max((search.reached for search in searches if search.left), default=0)
        ends = {search.partition.topic: search.end if search.left else 0 for search in searches}
        return SearchResult(events, {topic: ends.get(topic, 0) for topic in topics}, horizon, scanned)

    def _searches(self, key: bytes, topics: Sequence[str], offsets: Mapping[str, int]) -> list[_Search]:
        existing = self._consumer.topics()
        partitions = []
        for topic in topics:
            if topic in existing:
                count = len(self._consumer.partitions_for_topic(topic) or ())
                number = partition_of(key, min(self._settings.partitions, max(count, 1)))
                partitions.append(TopicPartition(topic, number))
        begins, ends = self._consumer.beginning_offsets(partitions), self._consumer.end_offsets(partitions)
        return [
            _Search(partition, key, begins[partition], ends[partition], offsets.get(partition.topic))
            for partition in partitions
        ]


class _Time(msgspec.Struct):
    """The time of an event; the rest is not decoded."""

    time: Instant


_decode = msgspec.json.Decoder(_Time).decode


def _time_of(value: bytes | None) -> int | None:
    try:
        return None if value is None else instant_ms(_decode(value).time)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
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
        """The account's events of a block."""
        records = [record for record in records if record.offset < self.end]
        self.end = self._first
        oldest = _time_of(records[0].value) if records else None
        self.reached = self.reached if oldest is None else min(self.reached, oldest)
        events = ((record, _time_of(record.value)) for record in records if record.key == self._key)
        topic = self.partition.topic
        return [RawEvent(topic, record.offset, time, record.value) for record, time in events if time is not None]


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
