"""Ending the process at once after an error that no retry can mend.

Owns the exit status and the log record. Called by every part of a worker whose failure would lose or double events.
"""

from __future__ import annotations

import os
import sys

import structlog

log = structlog.get_logger()

EXIT_FATAL = 71


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
        name = type(error).__name__
        log.critical("fatal", error=f"{name}: {error}", exc_info=error, then="exit, nothing was committed")
    sys.stderr.flush()
    os._exit(EXIT_FATAL)
