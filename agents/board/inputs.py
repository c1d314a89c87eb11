"""Raw input events of one account, read on demand from its partition of the input topics.

Owns the consumer for that and its bounds. The newest records are read first, block by block towards the begin, until
enough were found, too many were looked at, or time is up; where it ended is told, so that the next search goes on
there. Called by `agents.board.timeline`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from agents.board.answers import UnavailableError
from agents.processor import partition_of
from agents.settings import Settings
from schemas.codecs import instant_ms
from schemas.events import Instant

BLOCK = 2_000
MOST_SCANNED = 60_000
PATIENCE_S = 2.5
_WAIT_S = 1.0
_POLL_MS = 200


class Raw(NamedTuple):
    """A record of an input topic: its offset, the event's own time (epoch ms) and its value."""

    topic: str
    offset: int
    time: int
    value: bytes


class Found(NamedTuple):
    """Records of an account not after a moment.

    `places` is where each topic's search goes on (0: nothing is left), `horizon` the moment (epoch ms) down to which
    all topics were searched, as far as their records are in order; `scanned` counts the records looked at.
    """

    records: list[Raw]
    places: dict[str, int]
    horizon: int
    scanned: int


class Inputs(Protocol):
    """Finds records of an account."""

    def find(self, account: str, topics: Sequence[str], places: Mapping[str, int], until: int, limit: int) -> Found:
        """The newest records, `limit` of them if there are, from `places` (by topic; absent: the end) backwards.

        `until` (epoch ms): later events are left out. Raises `UnavailableError`.
        """

    def close(self) -> None:
        """Let go of the broker."""


class NoInputs:
    """Of a board without a broker."""

    def find(self, account: str, topics: Sequence[str], places: Mapping[str, int], until: int, limit: int) -> Found:
        """Nothing."""
        del account, places, until, limit
        return Found([], dict.fromkeys(topics, 0), 0, 0)

    def close(self) -> None:
        """Nothing to let go of."""


class KafkaInputs:
    """One consumer without a group, used by one search at a time."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings; it connects when it is first needed."""
        self._settings = settings
        self._lock = threading.Lock()
        self._consumer: Any = None

    def find(self, account: str, topics: Sequence[str], places: Mapping[str, int], until: int, limit: int) -> Found:
        """See `Inputs`."""
        if not self._lock.acquire(timeout=_WAIT_S):
            msg = "others are reading time lines just now; try again"
            raise UnavailableError(msg)
        try:
            return self._find(account, topics, places, until, limit)
        except (KafkaError, OSError, ValueError, AssertionError) as error:
            self._drop()
            msg = f"the input topics could not be read: {type(error).__name__}"
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

    def _find(self, account: str, topics: Sequence[str], places: Mapping[str, int], until: int, limit: int) -> Found:
        deadline_s = time.monotonic() + PATIENCE_S
        key = account.encode()
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                **self._settings.kafka_python(),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_poll_records=BLOCK,
            )
        there = self._consumer.topics()
        searches = [self._search(topic, key, places.get(topic)) for topic in topics if topic in there]
        found: list[Raw] = []
        scanned = 0
        while left := [search for search in searches if search.left]:
            search = max(left, key=lambda one: one.reached)
            enough = sum(raw.time > search.reached for raw in found) >= limit
            if enough or scanned >= MOST_SCANNED or time.monotonic() > deadline_s:
                break
            records, looked = search.step(self._consumer, deadline_s)
            found += [raw for raw in records if raw.time <= until]
            scanned += looked
        horizon = max((search.reached for search in searches if search.left), default=0)
        ends = {search.topic: search.end if search.left else 0 for search in searches}
        return Found(found, {topic: ends.get(topic, 0) for topic in topics}, horizon, scanned)

    def _search(self, topic: str, key: bytes, end: int | None) -> _Search:
        partitions = self._consumer.partitions_for_topic(topic) or {0}
        place = TopicPartition(topic, partition_of(key, min(self._settings.partitions, len(partitions))))
        begin = self._consumer.beginning_offsets([place])[place]
        if end is None:
            end = _end_of(self._consumer, place)
        return _Search(place, key, begin, max(end, begin))


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

    def __init__(self, place: TopicPartition, key: bytes, begin: int, end: int) -> None:
        self.topic = place.topic
        self.end = end
        self.reached = 2**62
        """Time of the event looked at last."""
        self._place, self._key, self._begin = place, key, begin

    @property
    def left(self) -> bool:
        """Whether there are older records."""
        return self.end > self._begin

    def step(self, consumer: Any, deadline_s: float) -> tuple[list[Raw], int]:
        """The account's events of the next block, and how many records were looked at."""
        first = max(self._begin, self.end - BLOCK)
        found, looked, oldest = [], 0, None
        for record in _read(consumer, self._place, first, self.end, deadline_s):
            looked += 1
            if oldest is None:
                oldest = _time_of(record.value)
            if record.key == self._key and (at := _time_of(record.value)) is not None:
                found.append(Raw(self.topic, record.offset, at, record.value))
        self.end = first
        self.reached = min(self.reached, self.reached if oldest is None else oldest)
        return found, looked


def _end_of(consumer: Any, place: TopicPartition) -> int:
    """The end of a partition by a fetch, where the broker's own answer may be too low (see `agents.demo.broker`)."""
    end = int(consumer.end_offsets([place])[place])
    if end == 0:
        return 0
    consumer.assign([place])
    consumer.seek(place, end - 1)
    deadline_s = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline_s and consumer.highwater(place) is None:
        consumer.poll(timeout_ms=_POLL_MS, max_records=1)
    return max(int(consumer.highwater(place) or 0), end)


def _read(consumer: Any, place: TopicPartition, first: int, end: int, deadline_s: float) -> Iterator[Any]:
    """The records of `first` to `end`."""
    consumer.assign([place])
    consumer.seek(place, first)
    while consumer.position(place) < end:
        if time.monotonic() > deadline_s + PATIENCE_S:
            msg = "the broker is too slow"
            raise ValueError(msg)
        for record in consumer.poll(timeout_ms=_POLL_MS).get(place, ()):
            if record.offset >= end:
                return
            yield record
