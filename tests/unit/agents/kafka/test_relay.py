"""The loop of a process that reads and writes: a pause ends when the process is asked to stop."""

from __future__ import annotations

import threading
from typing import Any

from agents.kafka.relay import Relay


def test_a_pause_ends_when_the_process_is_asked_to_stop() -> None:
    consumer: Any = None
    relay = Relay(consumer, "group")
    asked = threading.Timer(0.0, relay.stop)
    asked.start()
    relay.pause(3600)
    asked.join()
    assert relay.stopping
