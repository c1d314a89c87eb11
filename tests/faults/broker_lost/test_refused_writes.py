"""Rows 11 and 31: a changelog that refuses writes. Commits stop, the worker ends in time, and once means once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from schemas.topics import LARGEST_RECORD, changelog
from tests.faults import verdict
from tests.faults.broker_lost.feeder import Feeder
from tests.faults.deployment import GROUP, Deployment
from tests.faults.events import TEMPLATE, company

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.worker_process import WorkerProcess

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

UNCOMMITTED = 72
TINY = 100
STORMS = "\n[storms]\nshare = 0.01\nleast = 4\n"
"""Few alerts at once are a storm already: what the replay after the kill fires at once must not be one."""


def accept(deployment: Deployment, largest: int) -> None:
    """Let the changelog take batches of so many bytes."""
    with deployment.kafka.admin() as admin:
        limit = {"max.message.bytes": str(largest)}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, changelog(GROUP).name, limit)])


def ended(deployment: Deployment, worker: WorkerProcess) -> tuple[int, float]:
    """Ask a worker to end; returns its status and the seconds it took."""
    began = time.monotonic()
    status = deployment.stop(worker)
    return status, time.monotonic() - began


def test_a_changelog_that_refuses_writes_stops_commits_and_nothing_else(tmp_path: Path, fault: Callable) -> None:
    """The worker runs on, ends, starts again and is killed while its changelog refuses what it writes."""
    with Deployment(tmp_path, policy=TEMPLATE + STORMS, catch_up_lag=100) as deployment:
        worker = deployment.start()
        with Feeder(deployment, company(150, 60)) as feeder:
            deployment.until(lambda: worker.settled().total() > 1000, "at work")
            committed = sum(deployment.not_committed().values())
            accept(deployment, TINY)
            unready = deployment.until(lambda: not worker.is_ready(), "unready while the changelog refuses", 30)
            alerts = len(deployment.documents(verdict.ALERTS))
            deployment.until(lambda: len(deployment.documents(verdict.ALERTS)) > alerts + 40, "alerts go on")
            assert '"event": "send_failed"' in worker.log_text()
            assert worker.ask("/healthz") == (200, '{"ok": true, "problems": []}'), "it does not hang"
            assert sum(deployment.not_committed().values()) > committed
            status, seconds = ended(deployment, worker)
            assert status == UNCOMMITTED, worker.last_words()
            assert "last_commit_failed" in worker.log_text()
            worker = deployment.start()
            answered = deployment.until(lambda: worker.ask("/healthz") is not None, "it answers", 30)
            assert worker.wait(10) is None
            assert not worker.is_ready()
            status, again = ended(deployment, worker)
            assert status in {0, UNCOMMITTED}, worker.last_words()
            worker = deployment.start()
            assert worker.wait(5) is None
            deployment.kill(worker)
            accept(deployment, LARGEST_RECORD)
            deployment.start()
            feeder.finish()
        deployment.until_done()
        figures = deployment.judge()
        assert figures["sent"] == feeder.sent == figures["applied"]
        repeated = verdict.repeated_alerts(deployment.documents(verdict.ALERTS))
        assert not repeated, repeated[:10]
    times = {
        "unready after (s)": round(unready),
        "ended after (s)": round(max(seconds, again)),
        "answers after (s)": round(answered),
    }
    fault("11 changelog refuses writes", figures | times)
