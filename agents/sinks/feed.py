"""The way of alerts from `health.alerts` to one sink: read, judged, handed over, and committed once dealt with.

Owns the consumer and its group's offsets. At start it reads what the topic keeps, without delivering what was delivered
before, so that it knows what is open; the first start of all delivers only what is open then. A sink is asked again and
again for what it has dealt with. One process a sink: it reads all partitions. Must not know what a sink does.
"""

from __future__ import annotations

import logging
import time
from types import FrameType
from typing import Any, Protocol

import msgspec
import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from agents.broker import BrokerError, consumer_of, places_of
from agents.settings import Settings
from agents.sinks.telemetry import SinkTelemetry
from schemas.outputs import Alert
from schemas.topics import ALERTS
from stream.delivery import News, OpenAlerts
from stream.offsets import Position, Progress

MOST_WAITING = 10_000
"""Records read and not dealt with, from which on no more are read."""
_POLL_S = 0.5
_COMMIT_EVERY_S = 1.0
_COMMIT_AGAIN_S = 10.0
_COMMIT_WITHIN_MS = 2_000

log = structlog.get_logger()


class Sink(Protocol):
    """Something that delivers news."""

    def offer(self, news: News, record: Any) -> bool:
        """Take news to deliver; False: not for this sink. `record` is returned by `step` when it is dealt with."""

    def recall(self, news: News, stamp_ms: int) -> None:
        """Hear news that were delivered before this start, and when they were written."""

    def step(self) -> list[Any]:
        """Do what is to be done now; returns the records that are dealt with since."""

    def wait_s(self) -> float | None:
        """How long there is nothing to do; None: until news come."""

    def stop(self) -> list[Any]:
        """End what is under way, as `step`."""


class Feed:
    """Feeds one sink until it is asked to stop."""

    def __init__(self, settings: Settings, name: str, sink: Sink, telemetry: SinkTelemetry) -> None:
        """Connect as group `<group>-sink-<name>`. Raises `BrokerError`."""
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        self._sink = sink
        self._telemetry = telemetry
        self._stopping = False
        self._paused = False
        self._book = OpenAlerts()
        self._decode = msgspec.json.Decoder(Alert).decode
        self._progress: dict[int, Progress] = {}
        self._committed: dict[int, Position] = {}
        self._commit_at_s = 0.0
        self._consumer = consumer_of(settings, group_id=f"{settings.group}-sink-{name}")

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask it to end: no new deliveries, those under way are waited for."""
        self._stopping = True

    def run(self) -> None:
        """Read what is kept, then follow. Raises `BrokerError` when the topic can not be read at start."""
        try:
            self._begin()
            while not self._stopping:
                self._turn()
        finally:
            self._settle(self._sink.stop())
            self._commit()
            self._consumer.close()

    def _begin(self) -> None:
        try:
            later = self._read_kept()
        except KafkaError as error:
            raise BrokerError(f"reading {ALERTS} failed: {type(error).__name__} {error}") from error
        if self._stopping:
            # What is open is not known in full: the next start begins where this one did.
            self._progress.clear()
            return
        for record in later:
            self._take(record)
        self._commit()
        log.info("sink_started", open_alerts=len(self._book), waiting=self._waiting())

    def _read_kept(self) -> list[Any]:
        """Read up to what was taken before this start; returns records that came along and are later."""
        places = places_of(self._consumer, ALERTS)
        self._consumer.assign(places)
        ends = self._consumer.end_offsets(places)
        new = self._restore(places, ends)
        until = {place: min(self._progress[place.partition].next, ends[place]) for place in places}
        self._consumer.seek_to_beginning(*places)
        later: list[Any] = []
        opened: dict[str, tuple[News, Any]] = {}
        while not self._stopping and any(self._consumer.position(place) < until[place] for place in places):
            for place, records in self._consumer.poll(timeout_ms=int(_POLL_S * 1000)).items():
                kept = [record for record in records if record.offset < until[place]]
                later += records[len(kept) :]
                for record in kept:
                    if place.partition in new:
                        self._keep_open(record, opened)
                    else:
                        self._recall(record)
        for news, record in opened.values():
            self._hand_over(news, record)
        return later

    def _restore(self, places: list[TopicPartition], ends: dict[TopicPartition, int]) -> set[int]:
        """Take up where the group has got to; returns the partitions of which it has read nothing yet."""
        begins = self._consumer.beginning_offsets(places)
        new = set()
        for place in places:
            committed = self._consumer.committed(place, metadata=True)
            if committed is None:
                new.add(place.partition)
                self._progress[place.partition] = Progress(ends[place])
                continue
            if committed.offset < begins[place]:
                log.error("alerts_removed", partition=place.partition, records=begins[place] - committed.offset)
            self._progress[place.partition] = Progress.restored(Position(committed.offset, committed.metadata or ""))
        return new

    def _keep_open(self, record: Any, opened: dict[str, tuple[News, Any]]) -> None:
        """First start of all: of what was said before, only what is open is news."""
        news = self._judge(record)
        if news is not None and news.kind == "resolved":
            opened.pop(news.alert.fingerprint, None)
        elif news is not None:
            opened[news.alert.fingerprint] = (news, record)

    def _recall(self, record: Any) -> None:
        news = self._judge(record)
        if self._progress[record.partition].is_news(record.offset):
            self._hand_over(news, record)
        elif news is not None:
            self._sink.recall(news, record.timestamp)

    def _judge(self, record: Any) -> News | None:
        try:
            return self._book.take(self._decode(record.value or b""))
        except msgspec.MsgspecError:
            log.exception("alert_unreadable", partition=record.partition, offset=record.offset)
            self._telemetry.dead_letters.inc()
            return None

    def _take(self, record: Any) -> None:
        self._hand_over(self._judge(record), record)

    def _hand_over(self, news: News | None, record: Any) -> None:
        progress = self._progress[record.partition]
        progress.take(record.offset)
        if news is None or not self._sink.offer(news, record):
            progress.done(record.offset)

    def _turn(self) -> None:
        """One round: read, deliver, commit."""
        full = self._waiting() >= MOST_WAITING
        if full != self._paused:
            self._paused = full
            (self._consumer.pause if full else self._consumer.resume)(*self._consumer.assignment())
        wait_s = self._sink.wait_s()
        timeout_s = _POLL_S if wait_s is None else min(_POLL_S, wait_s)
        try:
            polled = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
        except KafkaError as error:
            log.warning("reading_failed", error=f"{type(error).__name__} {error}", will="retry")
            polled = {}
        for records in polled.values():
            for record in records:
                self._take(record)
        self._settle(self._sink.step())
        self._telemetry.open_alerts.set(len(self._book))
        self._telemetry.waiting.set(self._waiting())
        if time.monotonic() >= self._commit_at_s:
            self._commit()

    def _settle(self, records: list[Any]) -> None:
        for record in records:
            self._progress[record.partition].done(record.offset)

    def _waiting(self) -> int:
        return sum(len(progress.waiting) for progress in self._progress.values())

    def _commit(self) -> None:
        """Commit positions that have moved. What the broker does not take now is committed with the next."""
        self._commit_at_s = time.monotonic() + _COMMIT_EVERY_S
        positions = {number: progress.position() for number, progress in self._progress.items()}
        moved = {number: at for number, at in positions.items() if self._committed.get(number) != at}
        if not moved:
            return
        offsets = {
            TopicPartition(ALERTS, number): OffsetAndMetadata(at.offset, at.note, -1) for number, at in moved.items()
        }
        try:
            self._consumer.commit(offsets, timeout_ms=_COMMIT_WITHIN_MS)
        except KafkaError as error:
            # Trying takes time that deliveries need: they go on without the broker.
            self._commit_at_s = time.monotonic() + _COMMIT_AGAIN_S
            log.warning("commit_failed", error=f"{type(error).__name__} {error}", will="retry")
        else:
            self._committed |= moved
