"""Progress: records completed out of order are known after a restart; none is lost, none is processed twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.consumers.progress import METADATA_CHARACTERS, Position, Progress


def test_position_has_the_first_pending_offset_and_steps_to_all_others() -> None:
    progress = Progress(10)
    for offset in (10, 11, 13, 14):
        progress.begin(offset)
    assert progress.position() == Position(10, "15;0,1,2,1")
    progress.done(10)
    progress.done(13)
    assert progress.position() == Position(11, "15;0,3")
    progress.done(11)
    progress.done(14)
    assert progress.position() == Position(15, "15;")


def test_pending_offsets_and_all_later_ones_are_pending_after_a_restart() -> None:
    progress = Progress.restored(Position(11, "15;0,3"))
    assert [offset for offset in range(9, 18) if progress.is_pending(offset)] == [11, 14, 15, 16, 17]


@pytest.mark.parametrize("metadata", ["", "nonsense", "12", "9;", "12;0,5", "15;0,x"])
def test_metadata_of_another_program_makes_everything_from_the_offset_on_pending(metadata: str) -> None:
    progress = Progress.restored(Position(11, metadata))
    assert [offset for offset in range(9, 13) if progress.is_pending(offset)] == [11, 12]


@given(st.lists(st.tuples(st.integers(1, 2_000), st.booleans()), max_size=2_500), st.integers(0, 10**12))
def test_restart_loses_nothing_and_repeats_only_what_the_metadata_can_not_hold(
    steps: list[tuple[int, bool]], first: int
) -> None:
    progress, offset = Progress(first), first
    waiting = set()
    for step, done in steps:
        offset += step
        progress.begin(offset)
        if done:
            progress.done(offset)
        else:
            waiting.add(offset)
    position = progress.position()
    assert len(position.metadata.encode()) <= METADATA_CHARACTERS + len(str(offset)) + 1
    again = Progress.restored(position)
    assert all(map(again.is_pending, waiting))
    assert again.is_pending(offset + 1)
    if again.next == progress.next:
        latest = range(max(first, progress.next - 5_000), progress.next)
        assert set(filter(again.is_pending, latest)) == waiting & set(latest)
    else:
        assert len(waiting) > 500
