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

IGNORES_OFFSETS = Path(__file__).parents[1] / "faults" / "worker_without_applied_offsets.py"


@pytest.mark.broker
@pytest.mark.parametrize("seed", [14, 16])
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
    """Workers that ignore applied offsets count twice what a killed one has applied and not committed."""
    plan = replace(draw_plan(7, seconds=8), faults=tuple(Fault("SIGKILL", at_s, 1.0, "one") for at_s in (1.0, 5.0)))
    result = run_round(plan, tmp_path / "round", entry=[str(IGNORES_OFFSETS)], patience_s=30)
    assert result.problems
    report = (tmp_path / "round" / "report.txt").read_text("utf-8")
    assert result.problems[-1] in report
    assert all(line in report for line in plan.lines())
    assert (tmp_path / "round" / "one.log").stat().st_size
    assert (tmp_path / "round" / "topics" / "health.scores.jsonl").stat().st_size
    _in_the_table(record_property, "32 applied offsets ignored on purpose", {"problems": len(result.problems)})


def _in_the_table(record_property: Callable[[str, object], None], name: str, figures: dict[str, int]) -> None:
    """Put a row into the table that `tests/faults/conftest.py` prints."""
    record_property("fault", json.dumps([name, {key: count for key, count in figures.items() if count}]))
