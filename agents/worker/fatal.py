"""Ending the process: at once after an error that no retry can mend, and in time when it is asked to end.

Owns these exit statuses and log records. `fatal` is called by every part of a worker whose failure would lose or double
events, `StopDeadline` by `agents.worker.run`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

import structlog

from agents.process.errors import error_text

log = structlog.get_logger()

EXIT_FATAL = 71
EXIT_UNCOMMITTED = 72
STOP_S = 27.0
"""How long a worker may take to end: supervisors kill it after 30 seconds."""
CLOSE_S = 5.0
"""How long its clients may take to close after the last commit."""
_CHECK_S = 0.2


class RefusedError(RuntimeError):
    """What a worker finds must not be gone on from; `way_out` says what to do."""

    def __init__(self, reason: str, way_out: str, **names: object) -> None:
        """`names` are more fields of the log record, such as topic, partition and offset."""
        super().__init__(reason)
        self.way_out = way_out
        self.names = names


def fatal(error: BaseException) -> None:
    """Log the error and exit: going on could lose or double events, and what is committed is safe."""
    if isinstance(error, RefusedError):
        log.critical("fatal", error=str(error), way_out=error.way_out, **error.names, then="exit, nothing was changed")
    else:
        log.critical("fatal", error=error_text(error), exc_info=error, then="exit, nothing was committed")
    sys.stderr.flush()
    os._exit(EXIT_FATAL)


class StopDeadline:
    """Ends the process when ending in order takes too long: a client that waits for a broker may never return."""

    def __init__(
        self,
        status: Callable[[], int],
        *,
        left_at: Callable[[], float],
        limit_s: float = STOP_S,
        end: Callable[[int], None] = os._exit,
    ) -> None:
        """`status` is the exit status at the deadline, `left_at` the monotonic time of the last commit before the end.

        `end` ends the process at once.
        """
        self._status = status
        self._left_at = left_at
        self._limit_s = limit_s
        self._end = end
        self._begun = False
        self._over = threading.Event()

    def begin(self) -> None:
        """Let the time run, from the first call on, in a thread of its own."""
        if not self._begun:
            self._begun = True
            threading.Thread(target=self._watch, name="stop deadline", daemon=True).start()

    def over(self) -> None:
        """Note that the process is ending by itself."""
        self._over.set()

    def expired(self, began: float, now: float) -> bool:
        """Whether the process has taken too long, given when it was asked to end (monotonic)."""
        left_at = self._left_at()
        return now - began > self._limit_s or (left_at > began and now - left_at > CLOSE_S)

    def _watch(self) -> None:
        began = time.monotonic()
        while not self._over.wait(_CHECK_S):
            if self.expired(began, time.monotonic()):
                status = self._status()
                log.critical("not_stopped_in_time", status=status, then="exit")
                sys.stderr.flush()
                self._end(status)
                return
