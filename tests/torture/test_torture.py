"""Row 32: rounds of fixed seeds on real parts, and a planted bug that a round finds. Others: `make torture`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.torture.plan import Fault, draw_plan, kinds_of
from tests.torture.rounds import run_round

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.topic_log import Message
    from tests.torture.input import Input

IGNORES_OFFSETS = Path(__file__).parents[1] / "faults" / "worker_without_applied_offsets.py"


@pytest.mark.broker
@pytest.mark.parametrize("seed", [14, pytest.param(16, marks=pytest.mark.faults)])
def test_a_round_ends_as_the_oracle_says(
    tmp_path: Path, record_property: Callable[[str, object], None], seed: int
) -> None:
    plan = draw_plan(seed, seconds=8, count=1500)
    assert plan.faults
    result = run_round(plan, tmp_path / "round")
    _in_the_table(record_property, f"32 seed {seed}: {kinds_of(plan)}", result.figures)
    assert not result.problems, "\n".join([*plan.lines(), *result.story, *result.problems])
    assert not (tmp_path / "round").exists()


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_planted_bug_is_found(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Workers that ignore applied offsets count twice what a commit has written before a kill; others do not.

    A slow connection makes commits last, so that kills meet them. Without deduplication, which hides the bug, and
    therefore without repeated ids and forwarded records.
    """
    drawn = draw_plan(7)
    kills = [
        Fault("SIGKILL", at_s, 1.0, name) for at_s, name in ((5.0, "one"), (8.3, "two"), (13.6, "one"), (16.9, "two"))
    ]
    plan = replace(
        drawn,
        input=_without_repeats(drawn.input),
        settings=(("dedup", "false"), ("commit_interval_s", 0.1)),
        faults=(*(Fault("slow", 0.0, 20.0, name) for name in drawn.workers), *kills),
    )
    result = run_round(plan, tmp_path / "right")
    assert not result.problems, "\n".join([*result.story, *result.problems])
    for _ in range(4):
        result = run_round(plan, tmp_path / "wrong", entry=[str(IGNORES_OFFSETS)], patience_s=30)
        if result.problems:
            break
    assert result.problems
    report = (tmp_path / "wrong" / "report.txt").read_text("utf-8")
    assert result.problems[-1] in report
    assert all(line in report for line in plan.lines())
    assert (tmp_path / "wrong" / "one.log").stat().st_size
    assert (tmp_path / "wrong" / "topics" / "health.scores.jsonl").stat().st_size
    _in_the_table(record_property, "32 applied offsets ignored on purpose", {"problems": len(result.problems)})


def _without_repeats(events: Input) -> Input:
    """Return the events without those that have the id of an earlier one, and those in the wrong partition.

    A number as account id is an id of another partition than that of the record's key.
    """
    seen: set[str] = set()

    def is_new(message: Message) -> bool:
        try:
            value = json.loads(message.value or b"")
            name, account = f"{message.topic} {value['id']}", value.get("account_id")
        except (ValueError, TypeError, KeyError, RecursionError):
            return message.partition is None
        if message.partition is not None or name in seen or isinstance(account, int | float):
            return False
        seen.add(name)
        return True

    history = tuple(filter(is_new, events.history))
    return replace(events, history=history, live=tuple(tuple(filter(is_new, piece)) for piece in events.live))


def _in_the_table(record_property: Callable[[str, object], None], name: str, figures: dict[str, int]) -> None:
    """Put a row into the table that `tests/faults/conftest.py` prints."""
    record_property("fault", json.dumps([name, {key: count for key, count in figures.items() if count}]))
