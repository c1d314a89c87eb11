"""Workers of one pool end together, and each is asked to once: a second signal would end it in the middle."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from agents import pool
from agents.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

# What a worker does: the first signal begins the end, during which the next one is deadly. The second worker is slow.
CHILD = """
import os, pathlib, signal, sys, time
slow = os.environ["VITALS_WEB_PORT"].endswith("1")
def end(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    deadline = time.monotonic() + (1.0 if slow else 0.0)
    while time.monotonic() < deadline:
        time.sleep(0.05)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[1], "slow" if slow else "fast").touch()
signal.pause()
"""


def test_a_worker_that_ends_slowly_is_not_asked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD, "utf-8")
    monkeypatch.setattr(pool, "COMMAND", (sys.executable, str(script)))
    ready = threading.Event()

    def ask() -> None:
        while not ready.wait(0.05):
            if {"slow", "fast"} <= {path.name for path in tmp_path.iterdir()}:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert pool.run_pool(load_settings(web_port=7000), 2, [str(tmp_path)]) == 0
    finally:
        ready.set()
        asking.join()
