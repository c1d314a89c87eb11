"""Run the demo's board: the real `vitals board` in a process of its own, on a free local port.

Called by `agents.demo.run`. The demo continues if the board ends.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from agents.demo.processes import Child

COMMAND = (sys.executable, "-m", "account_vitals", "board")
PATIENCE_S = 5.0


class DemoBoard:
    """Runs `vitals board` with `environment`, which sets its port to `port`; writes its log to `log`."""

    def __init__(self, environment: Mapping[str, str], port: int, log: Path) -> None:
        """Start it."""
        self.address = f"http://127.0.0.1:{port}/"
        self._child = Child(COMMAND, log, environment)

    def stop(self) -> None:
        """Stop it."""
        self._child.stop(signal.SIGTERM, PATIENCE_S)
