"""Delivering many things at once: each line in order, a few threads, pauses that grow after failures.

Owns the threads and what becomes of a try. Whose turn it is says `stream.consumers.queues`. What delivering means is a
function of the sink's, called in a thread: it must not touch anything that others do. Called by the webhook and notify
sinks.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Literal, NamedTuple, TypeVar

import structlog

from agents.sinks.metrics import SinkTelemetry
from stream.consumers.queues import Queues, pause_s

_WHILE_BUSY_S = 0.02
_LONGEST_WISH_S = 3_600.0
"""The longest a receiver may ask us to stay away."""

log = structlog.get_logger()
T = TypeVar("T")


class Outcome(NamedTuple):
    """What became of a try: taken, to be made again (not before `after_s`), refused for good, or the receiver is gone.

    `reason` is one word for it, `message` what a person should know.
    """

    status: Literal["taken", "again", "refused", "gone"]
    reason: str = ""
    message: str = ""
    after_s: float = 0.0


class Ended(NamedTuple, Generic[T]):
    """A thing that is done with: taken, or refused."""

    thing: T
    outcome: Outcome


def _outcome_of(future: Future[Outcome]) -> Outcome:
    """What became of a try; an error that nobody has foreseen is told of and is no end of the sink."""
    error = future.exception()
    if error is None:
        return future.result()
    log.error("delivery_failed", error=f"{type(error).__name__} {error}", exc_info=error)
    return Outcome("again", "error", type(error).__name__)


class Courier(Generic[T]):
    """Delivers things; `disabled` says what the receiver said when it is gone, and then nothing more is tried."""

    def __init__(
        self,
        deliver: Callable[[T], Outcome],
        telemetry: SinkTelemetry,
        *,
        threads: int,
        give_up_s: float,
        longest_pause_s: float,
    ) -> None:
        """A thing that fails is tried for `give_up_s`, then it counts as refused."""
        self._deliver = deliver
        self._telemetry = telemetry
        self._threads = threads
        self._give_up_s = give_up_s
        self._longest_pause_s = longest_pause_s
        self._lines: Queues[T] = Queues()
        self._running: dict[Hashable, tuple[T, Future[Outcome]]] = {}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="deliver")
        self.disabled: Outcome | None = None

    def put(self, line: Hashable, thing: T) -> None:
        """A thing more for the end of a line."""
        self._lines.put(line, thing, time.monotonic())

    def step(self) -> list[Ended[T]]:
        """Take note of tries that have ended, start those whose time has come, and return what is done with."""
        now_s = time.monotonic()
        ended = []
        for line in [line for line, (_, future) in self._running.items() if future.done()]:
            thing, future = self._running.pop(line)
            outcome = self._judged(line, _outcome_of(future), now_s)
            if outcome is not None:
                self._lines.done(line, now_s)
                ended.append(Ended(thing, outcome))
        while self.disabled is None and len(self._running) < self._threads and (head := self._lines.start(now_s)):
            self._running[head[0]] = (head[1], self._pool.submit(self._deliver, head[1]))
        return ended

    def _judged(self, line: Hashable, outcome: Outcome, now_s: float) -> Outcome | None:
        """How a thing has ended, or None when it is tried again."""
        if outcome.status == "taken":
            self._telemetry.succeeded(1)
            return outcome
        if outcome.status == "refused":
            return outcome
        self._telemetry.failed.inc()
        if outcome.status == "gone":
            self.disabled = outcome
        elif self._lines.tried_for(line, now_s) >= self._give_up_s:
            message = f"given up after {self._lines.tries(line)} tries: {outcome.message}"
            return Outcome("refused", outcome.reason, message)
        pause = pause_s(self._lines.tries(line), self._longest_pause_s, random.random())  # noqa: S311 -- spreads load
        self._lines.retry(line, now_s + max(pause, min(outcome.after_s, _LONGEST_WISH_S)))
        return None

    def wait_s(self) -> float | None:
        """How long there is nothing to do; None: until something is put in."""
        if self._running:
            return _WHILE_BUSY_S
        return None if self.disabled else self._lines.due_in(time.monotonic())

    def stop(self) -> list[Ended[T]]:
        """Wait for the tries under way, start no other, and return what they have ended."""
        self.disabled = self.disabled or Outcome("gone", "stopped")
        self._pool.shutdown(wait=True, cancel_futures=True)
        for line in [line for line, (_, future) in self._running.items() if future.cancelled()]:
            del self._running[line]
        return self.step()
