"""Rows 1 and 3: workers killed, and asked to end, in the middle of their work."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.faults import verdict
from tests.faults.deployment import SLOWLY, Deployment
from tests.faults.events import RULES, TEMPLATE, company

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def killed_at_random(folder: Path, kills: int, accounts: int, days: int, policy: str = TEMPLATE) -> dict[str, int]:
    """Kill the worker `kills` times at random shares of the work, and judge what the last one makes of it."""
    with Deployment(folder, policy=policy, broker=SLOWLY, catch_up="exact", catch_up_lag=100) as deployment:
        sent = deployment.send(company(accounts, days))
        chance = random.Random(kills)
        for share in sorted(chance.uniform(0.01, 0.9) for _ in range(kills)):
            worker = deployment.start()
            deployment.until_settled(share * sent)
            deployment.kill(worker)
        deployment.start()
        deployment.until_done()
        return deployment.judge(episodes=True)


@pytest.mark.faults
def test_a_worker_killed_at_random_moments_changes_nothing(tmp_path: Path, fault: Callable) -> None:
    figures = killed_at_random(tmp_path, kills=5, accounts=55, days=60)
    fault("1 worker SIGKILL x5 at random moments", figures)


@pytest.mark.faults
def test_alert_rules_that_remember_boundaries_outlive_kills(tmp_path: Path, fault: Callable) -> None:
    fault("1 the same with alert rules, x3", killed_at_random(tmp_path, kills=3, accounts=8, days=6, policy=RULES))


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_worker_killed_twenty_times_changes_nothing(tmp_path: Path, fault: Callable) -> None:
    figures = killed_at_random(tmp_path, kills=20, accounts=200, days=80)
    fault("1 worker SIGKILL x20 at random moments", figures)


@pytest.mark.faults
def test_a_worker_asked_to_end_leaves_everything_in_order(tmp_path: Path, fault: Callable) -> None:
    stops = 2
    with Deployment(tmp_path, broker=SLOWLY, catch_up="exact", catch_up_lag=100) as deployment:
        sent = deployment.send(company(45, 50))
        for stop in range(stops):
            worker = deployment.start()
            deployment.until_settled(sent * (stop + 1) / (stops + 2))
            assert deployment.stop(worker) == 0
        deployment.start()
        deployment.until_done()
        figures = deployment.judge(episodes=True)
        assert figures["replayed"] == 0
        names = [alert["id"] for alert in deployment.documents(verdict.ALERTS)]
        assert len(names) == len(set(names))
    fault("3 SIGTERM mid-batch", figures | {"stops": stops})
