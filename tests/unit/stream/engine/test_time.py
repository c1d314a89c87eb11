"""StreamTime: every clock of a partition moves forward only, and each follows its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.columns.columns import NEVER
from stream.engine.time import StreamTime

HOUR = 3_600_000
DAY = 24 * HOUR
MOMENTS = st.integers(1, 40 * DAY)


def times(*moments: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(moments, dtype=np.int64)


def clocks(time: StreamTime) -> dict[str, int]:
    """Every clock there is, by name; clocks that have not begun are missing."""
    moments = {"as_of": time.as_of_ms, "lateness": time.lateness_ms}
    moments |= {f"watermark of {source}": moment for source, moment in time.watermarks.items()}
    moments |= {f"clock of {source}": moment for source, moment in time.source_clocks.items()}
    remaining = time.boundaries_until(10_000)
    moments |= {"rescored": remaining[0]} if remaining else {}
    return {name: moment for name, moment in moments.items() if moment is not None}


MOVES: dict[str, Any] = {
    "advance": lambda time, moment: time.advance(moment),
    "follow": lambda time, moment: time.follow(times(moment, moment // 2 + 1), untimed=False),
    "follow profiles": lambda time, moment: time.follow(times(NEVER, moment), untimed=True),
    "close": lambda time, _moment: time.close_to_late_events(),
    "rescored": lambda time, moment: time.mark_rescored(moment // HOUR),
    "rescored before now": lambda time, _moment: time.as_of_ms is not None and time.mark_rescored_before_now(),
    "observe": lambda time, moment: time.observe("surveys", moment),
    "clocks": lambda time, _moment: time.as_of_ms is not None and time.advance_source_clocks(),
    "idle": lambda time, _moment: time.detect_idle(),
    "load": lambda time, moment: time.load(
        lateness_ms=moment, watermarks={"surveys": moment}, source_clocks={"surveys": moment}
    ),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(MOVES)), MOMENTS), max_size=40))
def test_no_sequence_of_moves_turns_a_clock_back(moves: list[tuple[str, int]]) -> None:
    time = StreamTime("hour", {"surveys": DAY, "billing": HOUR})
    before = clocks(time)
    for name, moment in moves:
        MOVES[name](time, moment)
        after = clocks(time)
        assert all(after[clock] >= moment for clock, moment in before.items()), (name, before, after)
        before = after


def test_every_public_method_that_moves_a_clock_is_among_the_moves() -> None:
    readers = {"current_ms", "idle_since", "boundaries_until", "begins", "enters_pane"}
    methods = {name for name, kind in vars(StreamTime).items() if callable(kind) and not name.startswith("_")}
    movers = {"advance", "follow", "close_to_late_events", "mark_rescored", "mark_rescored_before_now", "observe"}
    assert methods == readers | movers | {"advance_source_clocks", "detect_idle", "load"}
    assert len(MOVES) == len(methods - readers) + 1, "`follow` is there twice"


@pytest.mark.parametrize("clock", ["as_of_ms", "lateness_ms", "watermarks", "source_clocks", "idle"])
def test_clocks_can_not_be_set_from_outside(clock: str) -> None:
    with pytest.raises(AttributeError):
        setattr(StreamTime("day"), clock, 1)


def test_mappings_of_clocks_are_read_only() -> None:
    time = StreamTime("day", {"surveys": DAY})
    time.observe("surveys", 5)
    for mapping in (time.watermarks, time.source_clocks):
        with pytest.raises(TypeError):
            mapping["surveys"] = 1  # type: ignore[index]


def test_current_ms_before_the_first_event_raises() -> None:
    with pytest.raises(RuntimeError, match="stream time has not begun"):
        StreamTime("day").current_ms()


def test_advance_reports_entering_another_pane() -> None:
    time = StreamTime("hour")
    assert time.advance(HOUR + 5), "the first moment enters its pane"
    assert not time.advance(2 * HOUR - 1)
    assert time.advance(2 * HOUR)
    assert not time.advance(HOUR), "an earlier moment changes nothing"
    assert time.current_ms() == 2 * HOUR


def test_follow_gives_each_event_the_largest_time_up_to_it() -> None:
    time = StreamTime("hour")
    moments = time.follow(times(3 * HOUR, 5 * HOUR, 4 * HOUR), untimed=False)
    assert moments.times.tolist() == [3 * HOUR, 5 * HOUR, 4 * HOUR]
    assert moments.as_of.tolist() == moments.lateness.tolist() == [3 * HOUR, 5 * HOUR, 5 * HOUR]
    assert moments.boundaries.tolist() == [3, 5, 5]
    assert [moments.as_of_until(boundary) for boundary in (3, 5)] == [3 * HOUR, 5 * HOUR]
    assert (time.lateness_ms, time.as_of_ms) == (5 * HOUR, None), "stream time moves with `advance`"


def test_event_on_a_boundary_belongs_to_the_interval_that_ends_there() -> None:
    moments = StreamTime("hour").follow(times(HOUR - 1, HOUR, HOUR + 1), untimed=False)
    assert moments.boundaries.tolist() == [1, 1, 2]


def test_stream_time_ahead_of_lateness_time_decides_intervals_but_not_lateness() -> None:
    """After a crash within a commit, rows are ahead of the state."""
    time = StreamTime("hour")
    time.load(lateness_ms=2 * HOUR, watermarks={}, source_clocks={})
    time.advance(9 * HOUR)
    moments = time.follow(times(3 * HOUR), untimed=False)
    assert moments.lateness.tolist() == [3 * HOUR]
    assert moments.as_of.tolist() == [9 * HOUR]
    assert time.lateness_ms == 3 * HOUR


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        pytest.param(None, [4 * HOUR, 4 * HOUR, 4 * HOUR, 6 * HOUR], id="with the first event"),
        pytest.param(5 * HOUR, [5 * HOUR, 4 * HOUR, 4 * HOUR, 6 * HOUR], id="as of now"),
    ],
)
def test_profiles_move_no_clock(as_of: int | None, expected: list[int]) -> None:
    time = StreamTime("hour")
    if as_of is not None:
        time.advance(as_of)
    moments = time.follow(times(NEVER, 4 * HOUR, NEVER, 6 * HOUR), untimed=True)
    assert moments.times.tolist() == expected
    assert time.lateness_ms == 6 * HOUR


def test_boundaries_until_begins_after_the_last_one_rescored() -> None:
    time = StreamTime("hour")
    assert not time.boundaries_until(100), "before the first event there is nothing to rescore"
    time.advance(2 * HOUR + 1)
    assert list(time.boundaries_until(5)) == [3, 4, 5]
    time.mark_rescored(4)
    assert list(time.boundaries_until(5)) == [5]
    time.mark_rescored(2)
    assert list(time.boundaries_until(5)) == [5], "marking an earlier boundary changes nothing"


@pytest.mark.parametrize(("as_of", "first"), [(2 * HOUR, 2), (2 * HOUR + 1, 3)])
def test_rescoring_now_leaves_a_boundary_at_this_moment_open(as_of: int, first: int) -> None:
    time = StreamTime("hour")
    time.advance(as_of)
    time.mark_rescored_before_now()
    assert time.boundaries_until(9)[0] == first


def test_closing_brings_lateness_time_up_to_stream_time() -> None:
    time = StreamTime("day")
    time.close_to_late_events()
    assert time.lateness_ms is None
    time.advance(DAY)
    time.close_to_late_events()
    assert time.lateness_ms == DAY


def test_source_is_idle_after_its_limit_and_its_clock_stands_still() -> None:
    time = StreamTime("hour", {"surveys": 2 * HOUR, "billing": HOUR})
    time.observe("surveys", 10 * HOUR)
    time.advance(12 * HOUR)
    time.advance_source_clocks()
    assert not time.detect_idle(), "at the limit a source is not idle yet"
    time.advance(15 * HOUR)
    time.advance_source_clocks()
    assert time.detect_idle()
    assert time.idle == ("surveys",), "billing never had an event"
    assert time.idle_since() == {"surveys": 12 * HOUR}
    assert dict(time.source_clocks) == {"surveys": 12 * HOUR}, "billing has none"


def test_the_first_event_of_a_source_may_lie_so_far_back_that_its_clock_begins_before_stream_time() -> None:
    time = StreamTime("hour", {"surveys": 2 * HOUR})
    time.advance(15 * HOUR)
    assert time.advance_source_clocks() == frozenset()
    time.observe("surveys", 10 * HOUR)
    assert time.advance_source_clocks() == {"surveys"}
    assert dict(time.source_clocks) == {"surveys": 12 * HOUR}
    assert time.advance_source_clocks() == frozenset(), "it has one"


def test_a_saved_clock_of_0_is_none() -> None:
    time = StreamTime("hour", {"surveys": 2 * HOUR})
    time.load(lateness_ms=None, watermarks={}, source_clocks={"surveys": 0})
    assert not time.source_clocks


def test_source_that_resumes_is_not_idle_and_its_clock_goes_on() -> None:
    time = StreamTime("hour", {"surveys": 2 * HOUR})
    time.observe("surveys", 10 * HOUR)
    time.advance(15 * HOUR)
    assert time.detect_idle()
    time.observe("surveys", 15 * HOUR)
    time.advance_source_clocks()
    assert time.detect_idle()
    assert time.idle == ()
    assert dict(time.source_clocks) == {"surveys": 15 * HOUR}


def test_idle_sources_are_sorted_by_name() -> None:
    time = StreamTime("hour", {"surveys": HOUR, "billing": HOUR})
    for source in ("surveys", "billing"):
        time.observe(source, HOUR)
    assert time.idle_since() == {}, "before stream time begins nothing is idle"
    time.advance(9 * HOUR)
    assert list(time.idle_since()) == ["billing", "surveys"]
