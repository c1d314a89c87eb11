"""Row 11: the broker's disk is full. Kafka ends, the worker waits; with room on the disk again nothing is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.faults import verdict
from tests.faults.broker_lost.feeder import Feeder
from tests.faults.broker_lost.small_disk import SmallDisk
from tests.faults.deployment import Deployment
from tests.faults.events import company

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

MEGABYTES = 256
FULL_S = 20.0


def test_a_full_disk_of_the_broker_loses_nothing(tmp_path: Path, fault: Callable) -> None:
    messages = company(150, 60)
    half = len(messages) // 2
    with SmallDisk(tmp_path / "disk", MEGABYTES) as disk, Deployment(tmp_path, disk=disk.folder) as deployment:
        worker = deployment.start()
        with Feeder(deployment, messages[:half]) as feeder:
            deployment.until(worker.is_ready, "ready")
            deployment.until(lambda: worker.settled().total() > 1000, "at work")
            feeder.finish()
        taken = disk.fill()
        assert not disk.free_bytes()
        unready = deployment.until(lambda: not worker.is_ready(), "unready while nothing can be written", 60)
        deployment.until(lambda: deployment.kafka.exit_code() is not None, "Kafka ends when its disk is full")
        began = time.monotonic()
        while time.monotonic() - began < FULL_S:
            status = worker.wait(0.5)
            assert status is None, f"it ended with {status}:\n{worker.last_words()}"
            assert worker.ask("/healthz") == (200, '{"ok": true, "problems": []}')
            assert not worker.is_ready()
        disk.free()
        deployment.kafka.restart()
        ready = deployment.until(worker.is_ready, "ready again", 90)
        sent = feeder.sent + deployment.send(messages[half:])
        deployment.until_done()
        assert deployment.workers == [worker], "it has not ended"
        deployment.kills += 1  # what the broker had not written is read again, as after a crash
        figures = deployment.judge()
        assert figures["sent"] == sent == figures["applied"]
        assert not verdict.repeated_alerts(deployment.documents(verdict.ALERTS))
    times = {"disk (MB)": taken >> 20, "unready after (s)": round(unready), "ready again after (s)": round(ready)}
    fault("11 disk of the broker full", figures | times)
