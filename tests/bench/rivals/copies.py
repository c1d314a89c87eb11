"""Starts a command several times and ends all of them together, for engines whose process uses one core.

Owns the processes. Must not know what they are. Started by `commands` as
`python -m tests.bench.rivals.copies COUNT COMMAND...`; `{copy}` in the command becomes the number of the process.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.broker.child import ChildProcess

COPY = "{copy}"
_POLL_S = 0.2
_STOP_WITHIN_S = 20.0


def run_copies(count: int, command: list[str]) -> int:
    """Run until one process ends or SIGTERM comes; end the others too; return the exit code of the one that ended."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    copies = [
        ChildProcess([argument.replace(COPY, str(number)) for argument in command], log=Path("/dev/stderr"))
        for number in range(count)
    ]
    ended: list[int] = []
    while not stopping and not ended:
        copies[0].wait(_POLL_S)
        ended = [code for code in (process.poll() for process in copies) if code is not None]
    for process in copies:
        process.send_signal(signal.SIGTERM)
    for process in copies:
        process.terminate(_STOP_WITHIN_S)
    return ended[0] if ended else 0


if __name__ == "__main__":
    sys.exit(run_copies(int(sys.argv[1]), sys.argv[2:]))
