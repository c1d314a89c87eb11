"""Queues: order within a queue, no queue waits for another's failures, pauses double."""

from __future__ import annotations

import pytest

from stream.consumers.queues import Queues, pause_s


def test_next_item_starts_only_when_the_head_is_done() -> None:
    queues: Queues[str] = Queues()
    for item in ("a1", "a2"):
        queues.put("a", item, 0)
    assert queues.start(0) == ("a", "a1")
    assert queues.start(0) is None
    queues.done("a", 1)
    assert queues.start(1) == ("a", "a2")
    queues.done("a", 2)
    assert (queues.start(2), queues.due_in(2)) == (None, None)


def test_failing_queue_holds_up_no_other() -> None:
    queues: Queues[str] = Queues()
    queues.put("a", "a1", 0)
    assert queues.start(0) == ("a", "a1")
    queues.retry("a", 10)
    queues.put("b", "b1", 1)
    queues.put("a", "a2", 1)
    assert queues.start(1) == ("b", "b1")
    assert queues.start(1) is None
    assert queues.due_in(4) == 6
    assert queues.start(10) == ("a", "a1")
    assert (queues.tries("a"), queues.tried_for("a", 12)) == (2, 12)
    queues.done("a", 12)
    assert queues.start(12) == ("a", "a2")
    assert (queues.tries("a"), queues.tried_for("a", 12)) == (1, 0)


def test_item_put_while_the_head_is_tried_waits() -> None:
    queues: Queues[str] = Queues()
    queues.put("a", "a1", 0)
    assert queues.start(0) == ("a", "a1")
    queues.put("a", "a2", 0)
    assert queues.start(5) is None
    queues.done("a", 6)
    assert queues.start(6) == ("a", "a2")


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
def test_pauses_double_up_to_the_longest_and_half_of_each_is_chance(tries: int, chance: float, expected: float) -> None:
    assert pause_s(tries, 300, chance) == expected
