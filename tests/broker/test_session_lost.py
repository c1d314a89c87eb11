"""A worker that is frozen past its session in the middle of its work, and wakes when another has its partitions."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.deployment import SLOWLY, Deployment
from tests.faults.events import company

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker


def test_a_worker_frozen_past_its_session_writes_nothing_when_it_wakes(tmp_path: Path) -> None:
    with Deployment(tmp_path, broker=SLOWLY, catch_up="exact", catch_up_lag=100) as deployment:
        sent = deployment.send(company(40, 40))
        first, second = deployment.start("one"), deployment.start("two")
        deployment.until(
            lambda: first.settled().total() > sent / 10 and second.settled().total() > 0, "both are at work"
        )
        os.kill(first.pid, signal.SIGSTOP)
        deployment.kills += 1  # to those who take over it is dead
        deployment.until(lambda: second.settled().total() == sent, "the other has taken over and applied everything")
        os.kill(first.pid, signal.SIGCONT)
        deployment.until(lambda: '"event": "session_lost"' in first.log_text(), "it sees that its session is lost")
        deployment.until_done()
        assert deployment.judge()["applied"] == sent
