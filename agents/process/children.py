"""Child processes that end with the process that started them.

Owns the request to the kernel. Called by `agents.worker.processes` and by the demo.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def dying_with_parent() -> Callable[[], None] | None:
    """What a new process runs before its program, so that the kernel ends it when we end (Linux only)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # loaded here: after the fork only calls are safe
    parent = os.getpid()

    def die_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # we ended before the line above
            os._exit(1)

    return die_with_parent
