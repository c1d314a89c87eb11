"""What was dealt with out of order is known after a restart: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.consumers.progress import NOTE_CHARACTERS, Position, Progress


def test_a_position_names_the_first_that_waits_and_all_others() -> None:
    progress = Progress(10)
    for offset in (10, 11, 13, 14):
        progress.take(offset)
    assert progress.position() == Position(10, "15;0,1,2,1")
    progress.done(10)
    progress.done(13)
    assert progress.position() == Position(11, "15;0,3")
    progress.done(11)
    progress.done(14)
    assert progress.position() == Position(15, "15;")


def test_what_waited_is_news_after_a_restart_and_so_is_all_that_comes_after() -> None:
    progress = Progress.restored(Position(11, "15;0,3"))
    assert [offset for offset in range(9, 18) if progress.is_news(offset)] == [11, 14, 15, 16, 17]


@pytest.mark.parametrize("note", ["", "nonsense", "12", "9;", "12;0,5", "15;0,x"])
def test_a_note_that_is_none_of_ours_makes_all_from_the_offset_on_news(note: str) -> None:
    progress = Progress.restored(Position(11, note))
    assert [offset for offset in range(9, 13) if progress.is_news(offset)] == [11, 12]


@given(st.lists(st.tuples(st.integers(1, 2_000), st.booleans()), max_size=2_500), st.integers(0, 10**12))
def test_a_restart_loses_nothing_and_repeats_only_what_no_note_can_hold(
    steps: list[tuple[int, bool]], first: int
) -> None:
    progress, at = Progress(first), first
    waiting = set()
    for step, done in steps:
        at += step
        progress.take(at)
        if done:
            progress.done(at)
        else:
            waiting.add(at)
    position = progress.position()
    assert len(position.note.encode()) <= NOTE_CHARACTERS + len(str(at)) + 1
    again = Progress.restored(position)
    assert all(map(again.is_news, waiting))
    assert again.is_news(at + 1)
    if again.next == progress.next:
        latest = range(max(first, progress.next - 5_000), progress.next)
        assert {offset for offset in latest if again.is_news(offset)} == waiting & set(latest)
    else:
        assert len(waiting) > 500
