"""The broker's clock, whatever happens to the clock of this machine."""

from __future__ import annotations

import time

import pytest

from agents.worker.tasks import clock as clocks
from agents.worker.tasks.clock import BrokerClock

BROKER_MS = 1_751_328_000_000
HOUR_MS = 3_600_000


def test_the_clock_of_the_machine_counts_until_the_broker_has_acknowledged_a_record() -> None:
    before_ms = time.time_ns() // 1_000_000
    assert before_ms <= BrokerClock().now_ms() <= time.time_ns() // 1_000_000


@pytest.mark.parametrize("jump_ms", [2 * HOUR_MS, -2 * HOUR_MS])
def test_a_clock_that_is_set_while_the_worker_runs_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, jump_ms: int
) -> None:
    since_boot = [50_000]
    monkeypatch.setattr(clocks, "_since_boot_ms", lambda: since_boot[0])
    clock = BrokerClock()
    clock.learn(BROKER_MS)
    jumped = time.time_ns() + jump_ms * 1_000_000
    monkeypatch.setattr(time, "time_ns", lambda: jumped)
    since_boot[0] += 70
    assert clock.now_ms() == BROKER_MS + 70
    clock.learn(BROKER_MS + 65)
    assert clock.now_ms() == BROKER_MS + 65
