"""Whose turn it is: order in a line, none waits for another line's failures, pauses that double."""

from __future__ import annotations

import pytest

from stream.consumers.queues import RetryQueues, pause_s


def test_a_line_goes_on_only_when_its_head_is_done() -> None:
    lines: RetryQueues[str] = RetryQueues()
    for thing in ("a1", "a2"):
        lines.put("a", thing, 0)
    assert lines.start(0) == ("a", "a1")
    assert lines.start(0) is None
    lines.done("a", 1)
    assert lines.start(1) == ("a", "a2")
    lines.done("a", 2)
    assert (lines.start(2), lines.due_in(2)) == (None, None)


def test_a_line_that_fails_holds_up_no_other() -> None:
    lines: RetryQueues[str] = RetryQueues()
    lines.put("a", "a1", 0)
    assert lines.start(0) == ("a", "a1")
    lines.again("a", 10)
    lines.put("b", "b1", 1)
    lines.put("a", "a2", 1)
    assert lines.start(1) == ("b", "b1")
    assert lines.start(1) is None
    assert lines.due_in(4) == 6
    assert lines.start(10) == ("a", "a1")
    assert (lines.tries("a"), lines.tried_for("a", 12)) == (2, 12)
    lines.done("a", 12)
    assert lines.start(12) == ("a", "a2")
    assert (lines.tries("a"), lines.tried_for("a", 12)) == (1, 0)


def test_what_is_put_in_while_its_line_is_under_way_waits_for_its_turn() -> None:
    lines: RetryQueues[str] = RetryQueues()
    lines.put("a", "a1", 0)
    assert lines.start(0) == ("a", "a1")
    lines.put("a", "a2", 0)
    assert lines.start(5) is None
    lines.done("a", 6)
    assert lines.start(6) == ("a", "a2")


@pytest.mark.parametrize(
    ("tries", "chance", "expected"),
    [
        (1, 0.0, 0.5),
        (1, 0.5, 0.75),
        (2, 0.0, 1.0),
        (5, 0.0, 8.0),
        (9, 0.0, 128.0),
        (10, 0.0, 150.0),
        (10**6, 0.5, 225.0),
    ],
)
def test_pauses_double_up_to_the_longest_and_half_of_one_is_chance(tries: int, chance: float, expected: float) -> None:
    assert pause_s(tries, 300, chance) == expected
