"""The end of a worker: after an error that no retry can mend, and the deadline when it was asked to end."""

from __future__ import annotations

import queue
from typing import Any

import pytest
from structlog.testing import capture_logs

from agents.worker.fatal import CLOSE_S, EXIT_FATAL, STOP_S, RefusedError, StopDeadline, fatal


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


def end_of(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], dict[str, Any]]:
    statuses: list[int] = []
    monkeypatch.setattr("os._exit", statuses.append)
    with capture_logs() as logs:
        fatal(error)
    return statuses, dict(logs[0])


def test_a_refusal_is_one_log_record_with_the_way_out_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses, record = end_of(RefusedError("it is lost", "find it", topic="t", partition=3), monkeypatch)
    assert statuses == [EXIT_FATAL]
    assert record == {
        "event": "fatal",
        "log_level": "critical",
        "error": "it is lost",
        "way_out": "find it",
        "topic": "t",
        "partition": 3,
        "then": "exit, nothing was changed",
    }


def test_any_other_error_has_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ValueError("bad")
    statuses, record = end_of(error, monkeypatch)
    assert statuses == [EXIT_FATAL]
    assert (record["error"], record["exc_info"]) == ("ValueError: bad", error)
