"""Events of several files as columns: their order, and that each can still be had alone."""

from __future__ import annotations

import numpy as np

from agents.files.timeline import Run, TimedEvent, Timeline
from schemas.events import EngagementEvent, Event, UsageEvent

NAMES = ("product-usage", "engagement")


def event(source: str, name: str, time_ms: int) -> Event:
    if source == "engagement":
        return EngagementEvent(name, "a", time_ms, "call")
    return UsageEvent(name, "a", time_ms)


def run(source: str, file: str, *events: tuple[str, int]) -> Run:
    """A run of events with these ids and times; the line of each is its place in the run."""
    times = np.array([time_ms for _, time_ms in events], dtype=np.int64)
    return Run(source, file, times, [event(source, *each) for each in events], np.arange(1, len(events) + 1))


def test_ties_are_in_the_order_of_sources_then_of_files_then_of_lines() -> None:
    runs = [
        run("engagement", "e.jsonl", ("e1", 5), ("e2", 3)),
        run("product-usage", "u.jsonl", ("u1", 5), ("u2", 5)),
        run("product-usage", "t.jsonl", ("t1", 5), ("t2", 9), ("t3", 1)),
    ]
    timeline = Timeline.merged(runs, NAMES)
    assert [timed.event.id for timed in timeline] == ["t3", "e2", "u1", "u2", "t1", "e1", "t2"]
    assert [(timed.file, timed.line) for timed in timeline][:3] == [("t.jsonl", 3), ("e.jsonl", 2), ("u.jsonl", 1)]


def test_a_timeline_is_the_sequence_of_its_events() -> None:
    events = [
        TimedEvent(1, "engagement", event("engagement", "1", 1), "a", 7),
        TimedEvent(4, "product-usage", event("product-usage", "2", 4), "b", 8),
        TimedEvent(4, "engagement", event("engagement", "3", 4)),
    ]
    timeline = Timeline.of(events)
    assert list(timeline) == events
    assert [timeline[index] for index in (0, 1, -1)] == events
    assert list(timeline[1:]) == events[1:]
    assert list(timeline[:0]) == []
    assert Timeline.of(timeline) is timeline
    assert timeline.of_source("engagement").tolist() == [True, False, True]
    assert not timeline.of_source("billing").any()
    assert [timeline.count_until(moment) for moment in (0, 1, 3, 4)] == [0, 1, 1, 3]


def test_no_events_are_a_timeline() -> None:
    for timeline in (Timeline.of([]), Timeline.merged([], NAMES)):
        assert (len(timeline), list(timeline), timeline.count_until(9)) == (0, [], 0)
