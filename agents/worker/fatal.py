"""Ending the process at once after an error that no retry can mend.

Owns the exit status and the log record. Called by every part of a worker whose failure would lose or double events.
"""

from __future__ import annotations

import os
import sys

import structlog

log = structlog.get_logger()

EXIT_FATAL = 71


def fatal(error: BaseException) -> None:
    """Log the error and exit: going on could lose or double events, and what is committed is safe."""
    log.critical("fatal", error=f"{type(error).__name__}: {error}", exc_info=error, then="exit, nothing was committed")
    sys.stderr.flush()
    os._exit(EXIT_FATAL)
