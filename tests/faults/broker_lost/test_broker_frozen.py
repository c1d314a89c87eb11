"""Rows 6 and 31: a broker that is frozen for longer than the session, and workers that are asked to end meanwhile."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults import verdict
from tests.faults.broker_lost.feeder import Feeder
from tests.faults.deployment import Deployment
from tests.faults.events import company

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SESSION_S = 10
FROZEN_S = 90.0


@contextlib.contextmanager
def frozen(deployment: Deployment) -> Iterator[None]:
    """Freeze the broker in this block."""
    deployment.kafka.suspend()
    try:
        yield
    finally:
        deployment.kafka.resume()


def test_a_broker_frozen_past_the_session_loses_nothing(tmp_path: Path, fault: Callable) -> None:
    messages = company(100, 60)
    half = len(messages) // 2
    with Deployment(tmp_path, session_timeout_s=SESSION_S) as deployment:
        worker = deployment.start()
        with Feeder(deployment, messages[:half]) as feeder:
            deployment.until(worker.is_ready, "ready")
            deployment.until(lambda: worker.settled().total() > 0, "at work")
            feeder.__exit__()
            # Something is always to be committed: the worker has not come to the end when the broker freezes.
            rest = list(messages[:half][feeder.sent :])
            sent = feeder.sent + deployment.send(rest)
            with frozen(deployment):
                unready = deployment.until(lambda: not worker.is_ready(), "unready while the broker is frozen", 15)
                began = time.monotonic()
                while time.monotonic() - began < FROZEN_S - unready:
                    status = worker.wait(0.5)
                    assert status is None, f"it ended with {status}:\n{worker.last_words()}"
        ready = deployment.until(worker.is_ready, "ready again", 90)
        sent += deployment.send(messages[half:])
        deployment.until_done()
        assert deployment.workers == [worker], "it has not ended"
        deployment.kills += 1  # its tasks were closed and restored, as after a crash
        figures = deployment.judge()
        assert figures["sent"] == sent == figures["applied"]
        assert not verdict.repeated_alerts(deployment.documents(verdict.ALERTS))
    assert unready <= 10
    times = {"unready after (s)": round(unready), "ready again after (s)": round(ready)}
    fault("6 broker SIGSTOP for 90 s", figures | times)


@pytest.mark.parametrize("after_s", [2, 15])
def test_a_worker_ends_in_time_while_the_broker_is_frozen(tmp_path: Path, fault: Callable, after_s: float) -> None:
    with Deployment(tmp_path, session_timeout_s=SESSION_S) as deployment:
        worker = deployment.start()
        sent = deployment.send(company(60, 60))
        deployment.until_settled(sent / 3)
        with frozen(deployment):
            assert worker.wait(after_s) is None
            began = time.monotonic()
            status = deployment.stop(worker)
            seconds = time.monotonic() - began
        assert status in {0, 72}, f"{status} after {seconds:.0f} s:\n{worker.last_words()}"
        deployment.kills += 1
        deployment.start()
        deployment.until_done()
        figures = deployment.judge()
    fault(f"31 SIGTERM, broker frozen for {after_s} s", figures | {"status": status, "ended after (s)": round(seconds)})


def test_a_worker_that_waits_for_its_broker_ends_in_time_and_answers(tmp_path: Path, fault: Callable) -> None:
    """Frozen before the worker starts: it has not checked its topics yet. Then in the middle of a restore."""
    with Deployment(tmp_path, session_timeout_s=SESSION_S) as deployment:
        with frozen(deployment):
            worker = deployment.start()
            answered = deployment.until(lambda: worker.ask("/healthz") is not None, "it answers before it starts", 30)
            assert worker.ask("/healthz") == (200, '{"ok": true, "problems": []}')
            assert not worker.is_ready()
            assert worker.ask("/metrics") is not None
            began = time.monotonic()
            assert deployment.stop(worker) == 0
            seconds = time.monotonic() - began
        worker = deployment.start()
        sent = deployment.send(company(60, 60))
        deployment.until_done()
        assert deployment.stop(worker) == 0
        worker = deployment.start()
        deployment.until(lambda: "recovered" in (worker.ask("/readyz") or (0, ""))[1], "it has checked its topics")
        with frozen(deployment):
            assert worker.wait(3) is None
            began = time.monotonic()
            assert deployment.stop(worker) == 0
            seconds = max(seconds, time.monotonic() - began)
        deployment.start()
        deployment.until_done()
        figures = deployment.judge()
        assert figures["sent"] == sent == figures["applied"]
    times = {"answers after (s)": round(answered), "ended after (s)": round(seconds)}
    fault("31 SIGTERM while it waits for the broker, and in a restore", figures | times)
