"""Raw input events of one account, read on demand from its partition of the input topics.

Owns the consumer for that and its bounds. The newest records are read first, block by block towards the begin, until
enough were found, too many were looked at, or time is up; where it ended is told, so that the next search goes on
there. Called by `agents.board.views.timeline`.
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
    """Records of an account not after a moment.

    `places` is where each topic's search goes on (0: nothing is left), `horizon` the moment (epoch ms) down to which
    all topics were searched, as far as their records are in order; `scanned` counts the records looked at.
    """

    records: list[RawEvent]
    places: dict[str, int]
    horizon: int
    scanned: int


class Inputs(Protocol):
    """Finds records of an account."""

    def find(
        self, account: str, topics: Sequence[str], places: Mapping[str, int], until: int, limit: int
    ) -> SearchResult:
        """The newest records, `limit` of them if there are, from `places` (by topic; absent: the end) backwards.

        `until` (epoch ms): later events are left out. Raises `UnavailableError`.
        """

    def close(self) -> None:
        """Let go of the broker."""


class NoInputs:
    """Of a board without a broker."""

    def find(
        self, account: str, topics: Sequence[str], places: Mapping[str, int], until: int, limit: int
    ) -> SearchResult:
        """Nothing."""
        del account, places, until, limit
        return SearchResult([], dict.fromkeys(topics, 0), 0, 0)

    def close(self) -> None:
        """Nothing to let go of."""


class KafkaInputs:
    """One consumer without a group, used by one search at a time."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings; it connects when it is first needed."""
        self._settings = settings
        self._lock = threading.Lock()
        self._consumer: Any = None

    def find(
        self, account: str, topics: Sequence[str], places: Mapping[str, int], until: int, limit: int
    ) -> SearchResult:
        """See `Inputs`."""
        if not self._lock.acquire(timeout=_WAIT_S):
            msg = "others are reading time lines just now; try again"
            raise UnavailableError(msg)
        try:
            return self._find(account, topics, places, until, limit)
        except (KafkaError, OSError) as error:
            self._drop()
            msg = f"the input topics could not be read: {type(error).__name__} {error}"
            raise UnavailableError(msg) from error
        finally:
            self._lock.release()

    def close(self) -> None:
        """Let go of the broker."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._consumer is not None:
            with contextlib.suppress(KafkaError, OSError):
                self._consumer.close()
            self._consumer = None

    def _find(
        self, account: str, topics: Sequence[str], places: Mapping[str, int], until: int, limit: int
    ) -> SearchResult:
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                **self._settings.kafka_python(),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_poll_records=LARGEST_BLOCK,
            )
        searches = self._searches(account.encode(), topics, places)
        deadline_s = time.monotonic() + PATIENCE_S
        found: list[RawEvent] = []
        scanned, due = 0, [search for search in searches if search.left]
        while due:
            for search, records in _blocks(self._consumer, due).items():
                scanned += len(records)
                found += [raw for raw in search.collect(records) if raw.time <= until]
            left = [search for search in searches if search.left]
            # The topic whose search stands latest in time goes on: what is found is about equally old.
            due = [max(left, key=lambda one: one.reached)] if left else []
            enough = due and sum(raw.time > due[0].reached for raw in found) >= limit
            if enough or scanned >= MOST_SCANNED or time.monotonic() > deadline_s:
                break
        horizon = max((search.reached for search in searches if search.left), default=0)
        ends = {search.place.topic: search.end if search.left else 0 for search in searches}
        return SearchResult(found, {topic: ends.get(topic, 0) for topic in topics}, horizon, scanned)

    def _searches(self, key: bytes, topics: Sequence[str], places: Mapping[str, int]) -> list[_Search]:
        there = self._consumer.topics()
        chosen = []
        for topic in topics:
            if topic in there:
                partitions = len(self._consumer.partitions_for_topic(topic) or ())
                number = partition_of(key, min(self._settings.partitions, max(partitions, 1)))
                chosen.append(TopicPartition(topic, number))
        begins, ends = self._consumer.beginning_offsets(chosen), self._consumer.end_offsets(chosen)
        return [_Search(place, key, begins[place], ends[place], places.get(place.topic)) for place in chosen]


class _Time(msgspec.Struct):
    """An event's time; everything else of it is passed on as it came."""

    time: Instant


_decode = msgspec.json.Decoder(_Time).decode


def _time_of(value: bytes | None) -> int | None:
    try:
        return None if value is None else instant_ms(_decode(value).time)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _Search:
    """Backwards through one partition, from `end`."""

    def __init__(self, place: TopicPartition, key: bytes, begin: int, end: int, given: int | None) -> None:
        self.place = place
        self.end = end if given is None else given
        self.from_end = given is None
        """Whether `end` is the broker's word, which may be too low (see `agents.demo.broker`); a fetch corrects it."""
        self.reached = 2**62
        """Time of the oldest event looked at."""
        self._key, self._begin, self._first, self._block = key, begin, begin, FIRST_BLOCK

    @property
    def left(self) -> bool:
        """Whether there are older records."""
        return self.end > self._begin

    def begin_block(self) -> int:
        """Where the next block begins."""
        self._first = max(self._begin, self.end - self._block)
        self._block = min(self._block * 2, LARGEST_BLOCK)
        return self._first

    def is_read(self, consumer: Any) -> bool:
        """Whether the block was read to its end."""
        if self.from_end and (end := consumer.highwater(self.place)) is not None:
            self.end, self.from_end = max(self.end, end), False
        return not self.from_end and consumer.position(self.place) >= self.end

    def collect(self, records: list[Any]) -> list[RawEvent]:
        """The account's events of a block."""
        records = [record for record in records if record.offset < self.end]
        self.end = self._first
        oldest = _time_of(records[0].value) if records else None
        self.reached = self.reached if oldest is None else min(self.reached, oldest)
        events = ((record, _time_of(record.value)) for record in records if record.key == self._key)
        return [RawEvent(self.place.topic, record.offset, at, record.value) for record, at in events if at is not None]


def _blocks(consumer: Any, searches: list[_Search]) -> dict[_Search, list[Any]]:
    """The records of the next block of each search, and maybe some beyond. Raises `KafkaTimeoutError`."""
    blocks: dict[_Search, list[Any]] = {search: [] for search in searches}
    by_place = {search.place: search for search in searches}
    consumer.assign(list(by_place))
    consumer.resume(*by_place)  # a place keeps its state: it was left paused where others took longer
    for place, search in by_place.items():
        consumer.seek(place, search.begin_block())
    deadline_s = time.monotonic() + BLOCK_PATIENCE_S
    while waiting := [search for search in searches if not search.is_read(consumer)]:
        if time.monotonic() > deadline_s:
            msg = f"reading {', '.join(search.place.topic for search in waiting)} takes too long"
            raise KafkaTimeoutError(msg)
        consumer.pause(*(search.place for search in searches if search not in waiting))
        for place, records in consumer.poll(timeout_ms=_POLL_MS).items():
            blocks[by_place[place]] += records
    return blocks
