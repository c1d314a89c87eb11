"""Writes rejected deliveries to the webhook's dead-letter topic, each once; a failed write is retried after a pause.

Moves deliveries from REJECTED to DEAD_LETTERED (`agents.sinks.delivery`). Never
waits for the broker. Called by `agents.sinks.webhook`.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import Any

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

from agents.kafka.letters import Position, Refusal, sendable
from agents.process.errors import error_text
from agents.settings.redactor import redact
from agents.sinks.delivery import Delivery, State
from agents.sinks.metrics import SinkTelemetry
from schemas.topics import ALERTS, WEBHOOK_DLQ

_RETRY_AFTER_S = 5.0

log = structlog.get_logger()


class DeadLetterWriter:
    """Writes dead letters with `producer`, which sends on its own."""

    def __init__(self, producer: KafkaProducer, telemetry: SinkTelemetry, prefix: str = "") -> None:
        """Nothing is to be written yet; the topics of the deployment have this prefix."""
        self._topic, self._alerts = prefix + WEBHOOK_DLQ, prefix + ALERTS
        self._producer = producer
        self._telemetry = telemetry
        self._rejected: deque[Delivery[Any]] = deque()
        self._writing: list[tuple[Delivery[Any], Any]] = []
        self._not_before_s = 0.0

    def add(self, delivery: Delivery[Any]) -> None:
        """Add a rejected delivery; the next `step` writes it."""
        self._rejected.append(delivery)

    def step(self) -> list[Delivery[Any]]:
        """Start the writes that are due; returns the deliveries that the topic holds since the last call."""
        written = self._completed()
        while self._rejected and time.monotonic() >= self._not_before_s:
            try:
                write = self._producer.send(self._topic, **dead_letter(self._rejected[0], self._alerts))
            except KafkaError as error:
                self._pause(error)
                break
            delivery = self._rejected.popleft()
            delivery.move(State.WRITING_DEAD_LETTER)
            self._writing.append((delivery, write))
        return written

    def stop(self, within_s: float) -> list[Delivery[Any]]:
        """Wait for the writes in progress; returns the deliveries that the topic holds since the last call."""
        deadline_s = time.monotonic() + within_s
        for _, write in self._writing:
            with contextlib.suppress(KafkaError):
                write.get(timeout=max(0.0, deadline_s - time.monotonic()))
        return self._completed()

    def _completed(self) -> list[Delivery[Any]]:
        """Take the writes that have ended; those that failed, and only those, are written again."""
        written, in_progress = [], []
        for delivery, write in self._writing:
            if not write.is_done:
                in_progress.append((delivery, write))
            elif write.failed():
                delivery.move(State.REJECTED)
                self._rejected.append(delivery)
                self._pause(write.exception)
            else:
                delivery.move(State.DEAD_LETTERED)
                written.append(delivery)
                self._telemetry.dead_letters.inc()
                position = {"partition": delivery.record.partition, "offset": delivery.record.offset}
                log.error("dead_letter_written", reason=delivery.reason, error=delivery.message, **position)
        self._writing = in_progress
        return written

    def _pause(self, error: Exception) -> None:
        self._not_before_s = time.monotonic() + _RETRY_AFTER_S
        log.warning("dead_letter_failed", error=error_text(error), will="retry", in_s=_RETRY_AFTER_S)


def dead_letter(delivery: Delivery[Any], topic: str = ALERTS) -> dict[str, Any]:
    """The record as arguments of a producer's `send`, with headers that give the reason, no secrets."""
    record = delivery.record
    origin = Position(topic, record.partition, record.offset)
    return sendable(record, Refusal(delivery.reason, redact(delivery.message), origin, record.timestamp))
