"""Faust's loop as a worker runs it: what it writes by itself."""

from __future__ import annotations

import asyncio
import io

import faust

from agents.worker.fatal import StopDeadline
from agents.worker.run import _Runner


def test_the_start_of_a_worker_writes_no_escape_sequence() -> None:
    written = io.StringIO()
    loop = asyncio.new_event_loop()
    try:
        runner = _Runner(
            faust.App("spinner"),
            deadline=StopDeadline(lambda: 0, left_at=lambda: 0.0),
            stopping=asyncio.Event(),
            loop=loop,
            loglevel="WARNING",
            quiet=True,
            stdout=written,
            stderr=written,
            redirect_stdouts=False,
            override_logging=False,
        )
        loop.run_until_complete(runner.on_startup_finished())
    finally:
        loop.close()
    assert written.getvalue() == ""
