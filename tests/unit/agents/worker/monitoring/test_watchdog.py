"""The watchdog detects a stuck event loop or stuck records, and ends the process only then."""

from __future__ import annotations

import time

from agents.worker.monitoring.watchdog import EXIT_STUCK, Watchdog


def test_a_loop_that_does_not_turn_is_stuck() -> None:
    watchdog = Watchdog(60)
    now = time.monotonic()
    assert watchdog.stuck(now) is None
    assert watchdog.stuck(now + 61) == "the event loop does not turn"


def test_records_that_wait_without_progress_are_stuck() -> None:
    watchdog = Watchdog(60)
    watchdog._alive += 100
    assert watchdog.stuck(time.monotonic() + 61) == "records wait and none are applied"
    watchdog._progress += 100
    assert watchdog.stuck(time.monotonic() + 61) is None


def test_alive_and_progress_count_from_the_moment_they_are_reported() -> None:
    watchdog = Watchdog(60)
    watchdog._alive = watchdog._progress = time.monotonic() - 1000
    assert watchdog.stuck(time.monotonic())
    watchdog.alive()
    watchdog.progress()
    assert watchdog.stuck(time.monotonic()) is None


def test_the_process_ends_when_it_is_stuck() -> None:
    ended: list[int] = []
    watchdog = Watchdog(0.0, ended.append)
    watchdog._watch()
    assert ended == [EXIT_STUCK]


def test_a_watchdog_that_was_stopped_ends_nothing() -> None:
    ended: list[int] = []
    watchdog = Watchdog(0.0, ended.append)
    watchdog.stop()
    watchdog._watch()
    assert not ended
