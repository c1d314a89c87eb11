"""The watchdog: a thread that ends the process when the worker no longer gets anything done.

Owns only the judgement of "stuck": the event loop has not turned, or records wait and none were applied, for longer
than the limit. Known hangs of stream frameworks only log; a process that has ended is started again by whoever
supervises it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

EXIT_STUCK = 70


class Watchdog:
    """Told of life and of progress; acts when either is missing."""

    def __init__(self, limit_s: float, end: Callable[[int], None] = os._exit) -> None:
        """`end` ends the process at once, with an exit status."""
        self._limit_s = limit_s
        self._end = end
        self._alive = self._progress = time.monotonic()
        self._stopped = threading.Event()

    def alive(self) -> None:
        """The event loop turns."""
        self._alive = time.monotonic()

    def progress(self) -> None:
        """Something was applied, or there is nothing to apply."""
        self._progress = time.monotonic()

    def start(self) -> None:
        """Watch from a thread of its own, so that a stuck loop can not stop it."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    def stuck(self, now: float) -> str | None:
        """What is stuck, or None."""
        if now - self._alive > self._limit_s:
            return "the event loop does not turn"
        if now - self._progress > self._limit_s:
            return "records wait and none are applied"
        return None

    def _watch(self) -> None:
        while not self._stopped.wait(min(1.0, self._limit_s / 4)):
            reason = self.stuck(time.monotonic())
            if reason is not None:
                log.critical("stuck", reason=reason, limit_s=self._limit_s, then="exit, to be started again")
                self._end(EXIT_STUCK)
                return
