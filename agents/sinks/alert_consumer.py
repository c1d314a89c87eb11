"""The consumer of `health.alerts` for one sink: reads alerts, offers notifications, commits what is finished.

Owns the Kafka consumer and the offsets of its group. At start it reads the whole topic to know which alerts are open,
without delivering again what was delivered before; the first start of a group delivers only what is open then. One
process for each sink: it reads all partitions. Must not know what the sink does. Called by `agents.sinks.run`.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from agents.kafka.client import BrokerError, consumer_of, partitions_of
from agents.process.errors import error_text
from agents.settings.settings import Settings
from agents.sinks.alert_records import read_alert
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.sink import Sink
from schemas.records import UnreadableError
from schemas.topics import ALERTS
from stream.consumers.notifications import Notification, OpenAlerts
from stream.consumers.progress import Position, Progress
from stream.consumers.queues import pause_s

MOST_UNFINISHED = 10_000
"""No more records are read while this many are not finished."""
COMMIT_ALL_S = 3_600.0
"""Kafka deletes offsets of a group without members (`offsets.retention.minutes`): all are committed this often."""
_POLL_S = 0.5
_MEASURE_EVERY_S = 1.0
_COMMIT_EVERY_S = 1.0
_COMMIT_RETRY_S = 10.0
_COMMIT_WITHIN_MS = 2_000
_LONGEST_PAUSE_S = 10.0

log = structlog.get_logger()


class AlertConsumer:
    """Feeds one sink until it is asked to stop."""

    def __init__(self, settings: Settings, name: str, sink: Sink, telemetry: SinkTelemetry) -> None:
        """Connect as group `<group>-sink-<name>`. Raises `BrokerError`."""
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        self._topic = settings.topic(ALERTS)
        self._sink = sink
        self._telemetry = telemetry
        self._stopping = False
        self._paused = False
        self._open_alerts = OpenAlerts()
        self._progress: dict[int, Progress] = {}
        self._committed: dict[int, Position] = {}
        self._commit_at_s = self._commit_all_at_s = self._measure_at_s = self._read_at_s = 0.0
        self._failures = 0
        self._consumer = consumer_of(settings, group_id=f"{settings.group}-sink-{name}")

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask it to end: no new deliveries start, those in flight are finished."""
        self._stopping = True

    def run(self) -> None:
        """Read the topic, then follow it. Raises `BrokerError` when the topic cannot be read at start."""
        started = False
        try:
            started = self._start()
            while started and not self._stopping:
                self._round()
        finally:
            finished = self._sink.stop()
            if started:
                self._finish(finished)
                self._commit()
            self._consumer.close()

    def _start(self) -> bool:
        """Read the topic; False if asked to stop before its end: then nothing is committed."""
        try:
            self._read_history()
        except KafkaError as error:
            raise BrokerError(f"reading {self._topic} failed: {error_text(error)}") from error
        if self._stopping:
            return False
        self._commit()
        log.info("sink_started", open_alerts=len(self._open_alerts), waiting=self._unfinished())
        return True

    def _read_history(self) -> None:
        """Read each partition up to the position of the group; the consumer continues from there."""
        partitions = partitions_of(self._consumer, self._topic)
        self._consumer.assign(partitions)
        begins, ends = self._consumer.beginning_offsets(partitions), self._consumer.end_offsets(partitions)
        new = self._restore_progress(partitions, begins, ends)
        until = {partition: min(self._progress[partition.partition].next, ends[partition]) for partition in partitions}
        self._consumer.seek_to_beginning(*partitions)
        opened: dict[str, tuple[Notification, Any]] = {}
        while not self._stopping and self._pause_finished(until, begins):
            for partition, records in self._consumer.poll(timeout_ms=int(_POLL_S * 1000)).items():
                for record in records:
                    if record.offset >= until[partition]:
                        break
                    if partition.partition in new:
                        self._collect_open(record, opened)
                    else:
                        self._replay(record)
        for notification, record in opened.values():
            self._offer(notification, record)
        self._consumer.resume(*partitions)

    def _pause_finished(self, until: Mapping[TopicPartition, int], begins: Mapping[TopicPartition, int]) -> bool:
        """Pause the partitions that are read up to `until`; whether others are left.

        Records behind `until` that the same poll returned are read again when all partitions are resumed.
        """
        paused = self._consumer.paused()
        for partition in until.keys() - paused:
            if self._consumer.position(partition) >= until[partition]:
                self._consumer.pause(partition)
                self._consumer.seek(partition, max(until[partition], begins[partition]))
        return len(self._consumer.paused()) < len(until)

    def _restore_progress(
        self,
        partitions: list[TopicPartition],
        begins: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> set[int]:
        """Restore the position of the group; returns the partitions that it has never read."""
        new = set()
        for partition in partitions:
            committed = self._consumer.committed(partition, metadata=True)
            if committed is None:
                new.add(partition.partition)
                self._progress[partition.partition] = Progress(ends[partition])
                continue
            progress = Progress.restored(Position(committed.offset, committed.metadata or ""))
            self._drop_removed(partition.partition, progress, begins[partition])
            self._progress[partition.partition] = progress
        return new

    def _drop_removed(self, partition: int, progress: Progress, begin: int) -> None:
        """Count and log unfinished records that the topic has deleted; do not wait for them."""
        removed = {offset for offset in progress.waiting if offset < begin}
        lost = len(removed) + max(0, begin - progress.next)
        progress.waiting -= removed
        progress.next = max(progress.next, begin)
        if lost:
            log.error("alerts_removed", partition=partition, records=lost)
            self._telemetry.dead_letters.inc(lost)

    def _collect_open(self, record: Any, opened: dict[str, tuple[Notification, Any]]) -> None:
        """First start of a group: collect what is open at the end of the topic."""
        try:
            notification = self._notification_of(record)
        except UnreadableError:
            return
        if notification is not None and notification.kind == "resolved":
            opened.pop(notification.alert.fingerprint, None)
        elif notification is not None:
            opened[notification.alert.fingerprint] = (notification, record)

    def _replay(self, record: Any) -> None:
        """Later starts: offer what was unfinished, restore what was finished."""
        if self._progress[record.partition].is_pending(record.offset):
            self._process(record)
            return
        with contextlib.suppress(UnreadableError):
            notification = self._notification_of(record)
            if notification is not None:
                self._sink.restore(notification, record.timestamp)

    def _notification_of(self, record: Any) -> Notification | None:
        """The notification of a record, or None for a repetition. Raises `UnreadableError`."""
        return self._open_alerts.apply(read_alert(record.value))

    def _process(self, record: Any) -> None:
        try:
            notification = self._notification_of(record)
        except UnreadableError as error:
            self._reject(record, error)
        else:
            self._offer(notification, record)

    def _offer(self, notification: Notification | None, record: Any) -> None:
        progress = self._progress[record.partition]
        progress.begin(record.offset)
        if notification is None or not self._sink.offer(notification, record):
            progress.done(record.offset)

    def _reject(self, record: Any, error: UnreadableError) -> None:
        progress = self._progress[record.partition]
        progress.begin(record.offset)
        position = {"partition": record.partition, "offset": record.offset}
        log.error("alert_unreadable", **position, reason=error.reason, error=str(error))
        if not self._sink.reject(record, error.reason, str(error)):
            self._telemetry.dead_letters.inc()
            progress.done(record.offset)

    def _round(self) -> None:
        """Read, deliver, commit."""
        full = self._unfinished() >= MOST_UNFINISHED
        if full != self._paused:
            self._paused = full
            (self._consumer.pause if full else self._consumer.resume)(*self._consumer.assignment())
        wait_s = self._sink.wait_s()
        self._read(_POLL_S if wait_s is None else min(_POLL_S, wait_s))
        self._finish(self._sink.step())
        now_s = time.monotonic()
        if now_s >= self._measure_at_s:
            self._measure_at_s = now_s + _MEASURE_EVERY_S
            self._telemetry.open_alerts.set(len(self._open_alerts))
            self._telemetry.waiting.set(self._unfinished())
        if now_s >= self._commit_at_s:
            self._commit()

    def _read(self, timeout_s: float) -> None:
        """Process new records. After a failure reading pauses; deliveries continue without the broker."""
        if time.monotonic() < self._read_at_s:
            time.sleep(timeout_s)
            return
        try:
            polled = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
        except KafkaError as error:
            self._failures += 1
            pause = pause_s(self._failures, _LONGEST_PAUSE_S, random.random())  # noqa: S311 -- spreads load
            self._read_at_s = time.monotonic() + pause
            log.warning("reading_failed", error=error_text(error), will="retry", in_s=round(pause, 1))
            return
        self._failures = 0
        for records in polled.values():
            for record in records:
                self._process(record)

    def _finish(self, records: list[Any]) -> None:
        for record in records:
            self._progress[record.partition].done(record.offset)

    def _unfinished(self) -> int:
        return sum(len(progress.waiting) for progress in self._progress.values())

    def _commit(self) -> None:
        """Commit positions that have moved, once an hour all. After a failure the next commit tries again."""
        now_s = time.monotonic()
        self._commit_at_s = now_s + _COMMIT_EVERY_S
        if now_s >= self._commit_all_at_s:
            self._committed.clear()
        positions = {number: progress.position() for number, progress in self._progress.items()}
        moved = {number: position for number, position in positions.items() if self._committed.get(number) != position}
        if not moved:
            return
        offsets = {
            TopicPartition(self._topic, number): OffsetAndMetadata(position.offset, position.metadata, -1)
            for number, position in moved.items()
        }
        try:
            self._consumer.commit(offsets, timeout_ms=_COMMIT_WITHIN_MS)
        except KafkaError as error:
            # A commit that waits takes time from deliveries, which continue without the broker.
            self._commit_at_s = time.monotonic() + _COMMIT_RETRY_S
            log.warning("commit_failed", error=error_text(error), will="retry")
        else:
            if len(moved) == len(positions):
                self._commit_all_at_s = now_s + COMMIT_ALL_S
            self._committed |= moved
