"""The watchdog: a thread that ends the process when the worker no longer makes progress.

Owns the decision that a worker is stuck: for longer than a limit, the event loop did not turn, or records waited and
none was applied. Stream frameworks have hangs that they only log; a process that ends is restarted by its supervisor.
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
    """Ends the process when signs of life or of progress stay away."""

    def __init__(self, limit_s: float, end: Callable[[int], None] = os._exit) -> None:
        """`end` ends the process at once, with an exit status."""
        self._limit_s = limit_s
        self._end = end
        self._alive = self._progress = time.monotonic()
        self._stopped = threading.Event()

    def alive(self) -> None:
        """Note that the event loop turns."""
        self._alive = time.monotonic()

    def progress(self) -> None:
        """Note that something was applied, or that there is nothing to apply."""
        self._progress = time.monotonic()

    def start(self) -> None:
        """Watch from a thread of its own, which a stuck loop can not stop."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    def stuck(self, now: float) -> str | None:
        """Return what is stuck, or None."""
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
