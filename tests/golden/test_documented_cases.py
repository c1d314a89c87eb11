"""Policies of docs/reference/policy with cases in `tests/golden/cases`: events and the numbers that they must give.

`vitals test` runs them as anybody would, with the policy as the page shows it.
"""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copy

import pytest

from tests.golden.test_documented_policies import CASES, SHOWN
from tests.unit.agents.cli.invoke import vitals


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_numbers_of_the_cases_come_out_and_every_tier_and_band_is_reached(name: str, tmp_path: Path) -> None:
    policy = tmp_path / f"{name}.toml"
    policy.write_text(SHOWN[name], encoding="utf-8")
    copy(CASES[name], tmp_path)
    done = vitals("test", "--complete", "--json", policy)
    report = json.loads(done.stdout)
    assert [case for case in report["cases"] if case["differences"]] == []
    assert done.exit_code == 0, done.stdout


def test_a_wrong_number_fails(tmp_path: Path) -> None:
    policy, cases = tmp_path / "trend.toml", tmp_path / "trend.test.toml"
    policy.write_text(SHOWN["trend"], encoding="utf-8")
    text = CASES["trend"].read_text(encoding="utf-8")
    assert text.count("value = 50, band") == 2
    cases.write_text(text.replace("value = 50, band", "value = 51, band", 1), encoding="utf-8")
    assert vitals("test", policy).exit_code == 1
