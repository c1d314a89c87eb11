"""The deadline of a worker that was asked to end."""

from __future__ import annotations

import queue

import pytest

from agents.worker.fatal import CLOSE_S, STOP_S, StopDeadline


def test_a_worker_that_does_not_end_in_time_is_ended_with_the_status_of_that_moment() -> None:
    statuses: queue.Queue[int] = queue.Queue()
    deadline = StopDeadline(lambda: 72, left_at=lambda: 0.0, limit_s=0.0, end=statuses.put)
    deadline.begin()
    deadline.begin()
    assert statuses.get(timeout=30) == 72
    assert statuses.empty(), "one deadline, however often it is asked to end"


def test_a_worker_that_ends_by_itself_is_left_alone() -> None:
    ended: list[int] = []
    deadline = StopDeadline(lambda: 72, left_at=lambda: 0.0, limit_s=30, end=ended.append)
    deadline.over()
    deadline._watch()
    assert not ended


@pytest.mark.parametrize(
    ("left_at", "now", "expired"),
    [
        (0.0, 100 + STOP_S - 1, False),
        (0.0, 100 + STOP_S + 1, True),
        (99.0, 100 + CLOSE_S + 1, False),
        (103.0, 103 + CLOSE_S - 1, False),
        (103.0, 103 + CLOSE_S + 1, True),
    ],
    ids=["in time", "too late", "an earlier revocation", "closing", "clients that do not close"],
)
def test_after_the_last_commit_there_is_only_time_to_close_clients(
    left_at: float, now: float, *, expired: bool
) -> None:
    assert StopDeadline(lambda: 0, left_at=lambda: left_at).expired(100.0, now) is expired
