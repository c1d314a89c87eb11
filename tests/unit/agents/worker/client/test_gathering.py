"""How long the broker gathers: not at all with time to spare, longer and longer while the worker is busy."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from agents.worker.client.gathering import BUSY, LONGEST_MS, SHORTEST_MS, SPARE, BusyTime, next_wait_ms

if TYPE_CHECKING:
    from collections.abc import Iterator


def waits(wait_ms: float, busy: float) -> Iterator[float]:
    """The waits of one period after the other, the first of them `wait_ms`."""
    while True:
        yield wait_ms
        wait_ms = next_wait_ms(wait_ms, busy)


@pytest.mark.parametrize(
    ("wait_ms", "busy", "next_ms"),
    [
        (0.0, BUSY, 0.0),
        (0.0, BUSY + 0.01, SHORTEST_MS),
        (4.0, BUSY + 0.01, 6.0),
        (24.0, 2.0, LONGEST_MS),
        (LONGEST_MS, 2.0, LONGEST_MS),
        (12.0, SPARE, 12.0),
        (12.0, SPARE - 0.01, 8.0),
        (2.9, SPARE - 0.01, 0.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_one_period(wait_ms: float, busy: float, next_ms: float) -> None:
    assert next_wait_ms(wait_ms, busy) == pytest.approx(next_ms)


def test_a_busy_worker_gathers_for_longer_until_the_longest_and_one_with_time_to_spare_not_at_all() -> None:
    rising = list(itertools.islice(waits(0.0, 1.0), 10))
    assert rising == sorted(rising)
    assert rising[-1] == LONGEST_MS
    falling = list(itertools.islice(waits(LONGEST_MS, 0.0), 10))
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == 0.0


def test_the_time_of_a_thread_that_runs_counts() -> None:
    busy, began_s = BusyTime.of_engine_and_this_thread(), time.thread_time()
    while time.thread_time() - began_s < 0.02:
        pass
    assert busy.share() > 0


def test_where_the_system_does_not_tell_of_threads_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([1.0, 3.0])
    moments = iter([10.0, 14.0])
    monkeypatch.setattr(time, "process_time", lambda: next(seconds))
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    nobody = 2**22 + 1  # above the largest number of a thread
    assert BusyTime(nobody).share() == pytest.approx(0.5)
