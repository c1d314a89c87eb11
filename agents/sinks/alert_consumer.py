"""The way of alerts from `health.alerts` to one sink: read, judged, handed over, and committed once dealt with.

Owns the consumer and its group's offsets. At start it reads what the topic keeps, without delivering what was delivered
before, so that it knows what is open; the first start of all delivers only what is open then. A sink is asked again and
again for what it has dealt with. One process a sink: it reads all partitions. Must not know what a sink does.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any, Protocol

import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from agents.kafka.client import BrokerError, consumer_of, places_of
from agents.settings.settings import Settings
from agents.sinks.alert_records import UnreadableError, read_alert
from agents.sinks.metrics import SinkTelemetry
from schemas.topics import ALERTS
from stream.consumers.notifications import Notification, OpenAlerts
from stream.consumers.progress import Position, Progress
from stream.consumers.queues import pause_s

MOST_WAITING = 10_000
"""Records read and not dealt with, from which on no more are read."""
COMMIT_ALL_S = 3_600.0
"""Offsets of a group without members are forgotten (`offsets.retention.minutes`): all are told again so often."""
_POLL_S = 0.5
_MEASURE_EVERY_S = 1.0
_COMMIT_EVERY_S = 1.0
_COMMIT_AGAIN_S = 10.0
_COMMIT_WITHIN_MS = 2_000
_LONGEST_PAUSE_S = 10.0

log = structlog.get_logger()


class Sink(Protocol):
    """Something that delivers news."""

    def offer(self, news: Notification, record: Any) -> bool:
        """Take news to deliver; False: not for this sink. `record` is returned by `step` when it is dealt with."""

    def refuse(self, record: Any, reason: str, message: str) -> bool:
        """Keep a record that nobody can be told of where people find it; False: to log it is all there is to do."""

    def recall(self, news: Notification, stamp_ms: int) -> None:
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
        self._progress: dict[int, Progress] = {}
        self._committed: dict[int, Position] = {}
        self._commit_at_s = self._commit_all_at_s = self._measure_at_s = self._read_at_s = 0.0
        self._failures = 0
        self._consumer = consumer_of(settings, group_id=f"{settings.group}-sink-{name}")

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask it to end: no new deliveries, those under way are waited for."""
        self._stopping = True

    def run(self) -> None:
        """Read what is kept, then follow. Raises `BrokerError` when the topic can not be read at start."""
        begun = False
        try:
            begun = self._begin()
            while begun and not self._stopping:
                self._turn()
        finally:
            ended = self._sink.stop()
            if begun:
                self._settle(ended)
                self._commit()
            self._consumer.close()

    def _begin(self) -> bool:
        """Whether what is open is known in full; where it is not, the next start begins where this one did."""
        try:
            self._read_kept()
        except KafkaError as error:
            raise BrokerError(f"reading {ALERTS} failed: {type(error).__name__} {error}") from error
        if self._stopping:
            return False
        self._commit()
        log.info("sink_started", open_alerts=len(self._book), waiting=self._waiting())
        return True

    def _read_kept(self) -> None:
        """Read up to what was taken before this start; the consumer goes on from there."""
        places = places_of(self._consumer, ALERTS)
        self._consumer.assign(places)
        begins, ends = self._consumer.beginning_offsets(places), self._consumer.end_offsets(places)
        new = self._restore(places, begins, ends)
        until = {place: min(self._progress[place.partition].next, ends[place]) for place in places}
        self._consumer.seek_to_beginning(*places)
        opened: dict[str, tuple[Notification, Any]] = {}
        while not self._stopping and self._halt_those_at_their_ends(until, begins):
            for place, records in self._consumer.poll(timeout_ms=int(_POLL_S * 1000)).items():
                for record in records:
                    if record.offset >= until[place]:
                        break
                    if place.partition in new:
                        self._keep_open(record, opened)
                    else:
                        self._recall(record)
        for news, record in opened.values():
            self._hand_over(news, record)
        self._consumer.resume(*places)

    def _halt_those_at_their_ends(
        self, until: Mapping[TopicPartition, int], begins: Mapping[TopicPartition, int]
    ) -> bool:
        """Read no further in partitions that are read, while others have some way to go; whether any has.

        What came along from beyond is left, to be read again when all are through: there is no end to it.
        """
        halted = self._consumer.paused()
        for place in until.keys() - halted:
            if self._consumer.position(place) >= until[place]:
                self._consumer.pause(place)
                self._consumer.seek(place, max(until[place], begins[place]))
        return len(self._consumer.paused()) < len(until)

    def _restore(
        self,
        places: list[TopicPartition],
        begins: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> set[int]:
        """Take up where the group has got to; returns the partitions of which it has read nothing yet."""
        new = set()
        for place in places:
            committed = self._consumer.committed(place, metadata=True)
            if committed is None:
                new.add(place.partition)
                self._progress[place.partition] = Progress(ends[place])
                continue
            progress = Progress.restored(Position(committed.offset, committed.metadata or ""))
            self._give_up_what_is_gone(place.partition, progress, begins[place])
            self._progress[place.partition] = progress
        return new

    def _give_up_what_is_gone(self, partition: int, progress: Progress, begin: int) -> None:
        """What was not dealt with when the topic removed it never will be: it is told of, and waits no longer."""
        gone = {offset for offset in progress.waiting if offset < begin}
        lost = len(gone) + max(0, begin - progress.next)
        progress.waiting -= gone
        progress.next = max(progress.next, begin)
        if lost:
            log.error("alerts_removed", partition=partition, records=lost)
            self._telemetry.dead_letters.inc(lost)

    def _keep_open(self, record: Any, opened: dict[str, tuple[Notification, Any]]) -> None:
        """First start of all: of what was said before, only what is open is news."""
        try:
            news = self._judge(record)
        except UnreadableError:
            return
        if news is not None and news.kind == "resolved":
            opened.pop(news.alert.fingerprint, None)
        elif news is not None:
            opened[news.alert.fingerprint] = (news, record)

    def _recall(self, record: Any) -> None:
        if self._progress[record.partition].is_pending(record.offset):
            self._take(record)
            return
        with contextlib.suppress(UnreadableError):
            news = self._judge(record)
            if news is not None:
                self._sink.recall(news, record.timestamp)

    def _judge(self, record: Any) -> Notification | None:
        """What a record says. Raises `UnreadableError`."""
        return self._book.apply(read_alert(record.value))

    def _take(self, record: Any) -> None:
        try:
            news = self._judge(record)
        except UnreadableError as error:
            self._refuse(record, error)
        else:
            self._hand_over(news, record)

    def _hand_over(self, news: Notification | None, record: Any) -> None:
        progress = self._progress[record.partition]
        progress.begin(record.offset)
        if news is None or not self._sink.offer(news, record):
            progress.done(record.offset)

    def _refuse(self, record: Any, error: UnreadableError) -> None:
        progress, place = self._progress[record.partition], {"partition": record.partition, "offset": record.offset}
        progress.begin(record.offset)
        log.error("alert_unreadable", **place, reason=error.reason, error=str(error))
        if not self._sink.refuse(record, error.reason, str(error)):
            self._telemetry.dead_letters.inc()
            progress.done(record.offset)

    def _turn(self) -> None:
        """One round: read, deliver, commit."""
        full = self._waiting() >= MOST_WAITING
        if full != self._paused:
            self._paused = full
            (self._consumer.pause if full else self._consumer.resume)(*self._consumer.assignment())
        wait_s = self._sink.wait_s()
        self._read(_POLL_S if wait_s is None else min(_POLL_S, wait_s))
        self._settle(self._sink.step())
        now_s = time.monotonic()
        if now_s >= self._measure_at_s:
            self._measure_at_s = now_s + _MEASURE_EVERY_S
            self._telemetry.open_alerts.set(len(self._book))
            self._telemetry.waiting.set(self._waiting())
        if now_s >= self._commit_at_s:
            self._commit()

    def _read(self, timeout_s: float) -> None:
        """Take what has come; after a failure only time passes for a while, for deliveries go on without the broker."""
        if time.monotonic() < self._read_at_s:
            time.sleep(timeout_s)
            return
        try:
            polled = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
        except KafkaError as error:
            self._failures += 1
            pause = pause_s(self._failures, _LONGEST_PAUSE_S, random.random())  # noqa: S311 -- spreads load
            self._read_at_s = time.monotonic() + pause
            log.warning("reading_failed", error=f"{type(error).__name__} {error}", will="retry", in_s=round(pause, 1))
            return
        self._failures = 0
        for records in polled.values():
            for record in records:
                self._take(record)

    def _settle(self, records: list[Any]) -> None:
        for record in records:
            self._progress[record.partition].done(record.offset)

    def _waiting(self) -> int:
        return sum(len(progress.waiting) for progress in self._progress.values())

    def _commit(self) -> None:
        """Commit positions that have moved, now and then all. What the broker does not take now goes with the next."""
        now_s = time.monotonic()
        self._commit_at_s = now_s + _COMMIT_EVERY_S
        if now_s >= self._commit_all_at_s:
            self._committed.clear()
        positions = {number: progress.position() for number, progress in self._progress.items()}
        moved = {number: at for number, at in positions.items() if self._committed.get(number) != at}
        if not moved:
            return
        offsets = {
            TopicPartition(ALERTS, number): OffsetAndMetadata(at.offset, at.metadata, -1)
            for number, at in moved.items()
        }
        try:
            self._consumer.commit(offsets, timeout_ms=_COMMIT_WITHIN_MS)
        except KafkaError as error:
            # Trying takes time that deliveries need: they go on without the broker.
            self._commit_at_s = time.monotonic() + _COMMIT_AGAIN_S
            log.warning("commit_failed", error=f"{type(error).__name__} {error}", will="retry")
        else:
            if len(moved) == len(positions):
                self._commit_all_at_s = now_s + COMMIT_ALL_S
            self._committed |= moved
