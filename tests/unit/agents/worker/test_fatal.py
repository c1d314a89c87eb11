"""The end of a worker after an error that no retry can mend."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from agents.worker.fatal import EXIT_FATAL, RefusedError, fatal


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
