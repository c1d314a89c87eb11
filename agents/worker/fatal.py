"""Ending the process: at once after an error that no retry can mend, and in time when it is asked to end.

Owns these exit statuses and log records. `fatal` is called by every part of a worker whose failure would lose or double
events, `StopDeadline` by `agents.worker.run`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger()

EXIT_FATAL = 71
EXIT_UNCOMMITTED = 72
STOP_S = 27.0
"""How long a worker may take to end: supervisors kill it after 30 seconds."""


def fatal(error: BaseException) -> None:
    """Log the error and exit: going on could lose or double events, and what is committed is safe."""
    log.critical("fatal", error=f"{type(error).__name__}: {error}", exc_info=error, then="exit, nothing was committed")
    sys.stderr.flush()
    os._exit(EXIT_FATAL)


class StopDeadline:
    """Ends the process when ending in order takes too long: a client that waits for a broker may never return."""

    def __init__(
        self, status: Callable[[], int], *, limit_s: float = STOP_S, end: Callable[[int], None] = os._exit
    ) -> None:
        """`status` is the exit status at the deadline; `end` ends the process at once."""
        self._status = status
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

    def _watch(self) -> None:
        if not self._over.wait(self._limit_s):
            status = self._status()
            log.critical("not_stopped_in_time", within_s=self._limit_s, status=status, then="exit")
            sys.stderr.flush()
            self._end(status)
