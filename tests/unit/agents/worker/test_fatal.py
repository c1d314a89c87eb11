"""The deadline of a worker that was asked to end."""

from __future__ import annotations

import queue

from agents.worker.fatal import StopDeadline


def test_a_worker_that_does_not_end_in_time_is_ended_with_the_status_of_that_moment() -> None:
    statuses: queue.Queue[int] = queue.Queue()
    deadline = StopDeadline(lambda: 72, limit_s=0.0, end=statuses.put)
    deadline.begin()
    deadline.begin()
    assert statuses.get(timeout=30) == 72
    assert statuses.empty(), "one deadline, however often it is asked to end"


def test_a_worker_that_ends_by_itself_is_left_alone() -> None:
    ended: list[int] = []
    deadline = StopDeadline(lambda: 72, limit_s=30, end=ended.append)
    deadline.over()
    deadline._watch()
    assert not ended
