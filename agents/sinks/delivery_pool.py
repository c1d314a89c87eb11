"""Delivers many payloads at once: each queue in order, with a few threads and growing pauses after failures.

Owns the threads, and moves deliveries from QUEUED to DELIVERED or REJECTED (`agents.sinks.delivery`). Which queue is
next is decided by `stream.consumers.queues`. The sink supplies the function that makes an attempt; it runs in a thread
and must not touch shared state. Called by the webhook and notify sinks.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import structlog

from agents.process.errors import error_text
from agents.sinks.delivery import Delivery, Outcome, State
from agents.sinks.metrics import SinkTelemetry
from stream.consumers.queues import Queues, pause_s

_WHILE_BUSY_S = 0.02
_LONGEST_RETRY_AFTER_S = 3_600.0
"""The longest pause that a receiver may ask for (Retry-After)."""

log = structlog.get_logger()
T = TypeVar("T")


def _outcome_of(attempt: Future[Outcome]) -> Outcome:
    """The result of an attempt. An unexpected exception is logged and retried; it does not stop the sink."""
    error = attempt.exception()
    if error is None:
        return attempt.result()
    log.error("delivery_failed", error=error_text(error), exc_info=error)
    return Outcome("retry", "error", type(error).__name__)


class DeliveryPool(Generic[T]):
    """Delivers payloads until it is stopped or the receiver is gone."""

    def __init__(
        self,
        attempt: Callable[[T], Outcome],
        telemetry: SinkTelemetry,
        *,
        threads: int,
        give_up_s: float,
        longest_pause_s: float,
        on_gone: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        """A delivery that keeps failing is rejected after `give_up_s`; `on_gone` is called once, by `step`."""
        self._attempt = attempt
        self._telemetry = telemetry
        self._threads = threads
        self._give_up_s = give_up_s
        self._longest_pause_s = longest_pause_s
        self._on_gone = on_gone
        self._queues: Queues[Delivery[T]] = Queues()
        self._in_flight: dict[Hashable, tuple[Delivery[T], Future[Outcome]]] = {}
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="deliver")
        self._starts_attempts = True

    def add(self, queue: Hashable, delivery: Delivery[T]) -> None:
        """Add a delivery to the end of a queue."""
        self._queues.put(queue, delivery, time.monotonic())

    def step(self) -> list[Delivery[T]]:
        """Process ended attempts, start those that are due; returns the deliveries now DELIVERED or REJECTED."""
        now_s = time.monotonic()
        ended = []
        for queue in [queue for queue, (_, attempt) in self._in_flight.items() if attempt.done()]:
            delivery, attempt = self._in_flight.pop(queue)
            self._attempt_ended(queue, delivery, _outcome_of(attempt), now_s)
            if delivery.state in {State.DELIVERED, State.REJECTED}:
                self._queues.done(queue, now_s)
                ended.append(delivery)
        while self._starts_attempts and len(self._in_flight) < self._threads and (head := self._queues.start(now_s)):
            queue, delivery = head
            delivery.move(State.IN_FLIGHT)
            self._in_flight[queue] = (delivery, self._executor.submit(self._attempt, delivery.payload))
        return ended

    def _attempt_ended(self, queue: Hashable, delivery: Delivery[T], outcome: Outcome, now_s: float) -> None:
        """Move a delivery to the state that follows from its attempt."""
        if outcome.status == "accepted":
            self._telemetry.succeeded(1)
            delivery.move(State.DELIVERED, outcome)
            return
        if outcome.status == "rejected":
            delivery.move(State.REJECTED, outcome)
            return
        self._telemetry.failed.inc()
        if outcome.status == "gone":
            if self._starts_attempts:
                self._on_gone(outcome)
            self._starts_attempts = False
        elif self._queues.tried_for(queue, now_s) >= self._give_up_s:
            message = f"given up after {self._queues.tries(queue)} attempts: {outcome.message}"
            delivery.move(State.REJECTED, Outcome("rejected", outcome.reason, message))
            return
        delivery.move(State.WAITING_TO_RETRY, outcome)
        jitter = random.random()  # noqa: S311 -- spreads load
        pause = pause_s(self._queues.tries(queue), self._longest_pause_s, jitter)
        self._queues.retry(queue, now_s + max(pause, min(outcome.after_s, _LONGEST_RETRY_AFTER_S)))

    def wait_s(self) -> float | None:
        """Seconds until `step` has something to do; None: until a delivery is added."""
        if self._in_flight:
            return _WHILE_BUSY_S
        return self._queues.due_in(time.monotonic()) if self._starts_attempts else None

    def stop(self) -> list[Delivery[T]]:
        """Wait for the attempts in flight, start no others; returns the deliveries that these attempts ended."""
        self._starts_attempts = False
        self._executor.shutdown(wait=True, cancel_futures=True)
        for queue in [queue for queue, (_, attempt) in self._in_flight.items() if attempt.cancelled()]:
            self._in_flight.pop(queue)[0].move(State.QUEUED)
        return self.step()
