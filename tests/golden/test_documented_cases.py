"""The cases in `tests/golden/cases`: events and the numbers that they must give.

The policy of `NAME.test.toml` is `NAME.toml` beside it or, without that file, the policy NAME that a page of
docs/reference/policy shows. `vitals test` runs the cases as anybody would.
"""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copy

import pytest

from tests.golden.test_documented_policies import SHOWN
from tests.unit.agents.cli.invoke import vitals

FOLDER = Path(__file__).parent / "cases"
CASES = {str(file.relative_to(FOLDER)).removesuffix(".test.toml"): file for file in FOLDER.rglob("*.test.toml")}
NOT_IN_CASES = {"licences", "own-topics"}
"""Policies whose events are in topics of other names: they are tested with files, in `test_documented_sources.py`."""


def beside(policy: str, cases: Path, folder: Path) -> Path:
    """The policy and its cases in a folder of their own."""
    copy(cases, folder)
    file = folder / f"{Path(policy).name}.toml"
    own = cases.with_name(file.name)
    file.write_text(own.read_text("utf-8") if own.exists() else SHOWN[file.stem], encoding="utf-8")
    return file


@pytest.mark.parametrize("policy", sorted(CASES))
def test_the_numbers_of_the_cases_come_out_and_every_tier_and_band_is_reached(policy: str, tmp_path: Path) -> None:
    done = vitals("test", "--complete", "--json", beside(policy, CASES[policy], tmp_path))
    report = json.loads(done.stdout)
    assert [case for case in report["cases"] if case["differences"]] == []
    assert done.exit_code == 0, done.stdout


def test_every_policy_shown_has_cases_and_every_other_policy_has_its_file() -> None:
    names = {Path(policy).name: file for policy, file in CASES.items()}
    assert len(names) == len(CASES)
    assert SHOWN.keys() - names.keys() == NOT_IN_CASES
    with_file = {name for name, file in names.items() if file.with_name(f"{name}.toml").exists()}
    assert with_file == names.keys() - SHOWN.keys()


def test_a_wrong_number_fails(tmp_path: Path) -> None:
    policy = beside("measures/trend", CASES["measures/trend"], tmp_path)
    cases = tmp_path / "trend.test.toml"
    text = cases.read_text(encoding="utf-8")
    assert text.count("value = 20, points") == 1
    cases.write_text(text.replace("value = 20, points", "value = 21, points"), encoding="utf-8")
    assert vitals("test", policy).exit_code == 1
