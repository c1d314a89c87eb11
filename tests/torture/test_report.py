"""What the command prints of a round that fails, and how it makes the plan smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import typer

from tests.torture import __main__ as command
from tests.torture.plan import Plan, draw_plan
from tests.torture.rounds import Result

if TYPE_CHECKING:
    from pathlib import Path

SEED = 4
GUILTY = draw_plan(SEED).faults[1]


def fails_with_the_guilty(plan: Plan, folder: Path, **_: Any) -> Result:
    problems = ["acct-1: 3, not 4"] if GUILTY in plan.faults else []
    return Result(plan, folder, {"sent": 4}, problems, ["1.0 s  it happened"])


def test_a_failure_is_printed_and_made_smaller(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "run_round", fails_with_the_guilty)
    with pytest.raises(typer.Exit) as ended:
        command.run(seed=SEED, rounds=3, logs=tmp_path)
    assert ended.value.exit_code == 1
    printed = capsys.readouterr().out
    assert f"seed {SEED} at commit" in printed
    assert all(line in printed for line in draw_plan(SEED).lines())
    assert "  1.0 s  it happened" in printed
    assert f"logs and topics: {tmp_path / f'seed-{SEED}'}" in printed
    last = printed.splitlines()[-1]
    assert last == f'the smallest plan that failed: make torture ARGS="--seed {SEED} --rounds 1 --only 2"'


def test_rounds_that_hold_are_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "run_round", fails_with_the_guilty)
    command.run(seed=SEED, rounds=2, only="1", logs=tmp_path)
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"2 rounds from seed {SEED} at ")
