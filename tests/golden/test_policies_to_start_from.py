"""The policies of deploy/policies: the examples in their comments, and the cases beside them, which reach all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stream.policy.policy import parse_policy
from tests.pages.blocks import policy_files
from tests.unit.agents.cli.invoke import vitals

FOLDER = Path(__file__).parents[2] / "deploy/policies"
TEXTS = {file.stem: file.read_text(encoding="utf-8") for file in policy_files(FOLDER)}
EXAMPLES = {
    "impact": "18 + 8 + 4 + 4 + 10 + 15 - 10 - 4 - 10 + 4 = 39, and 39 + 40 = 79: healthy",
    "guide": "churn:  (4 x 70 + 3 x 75 + 2 x 60 + 1 x 50) / 10 = 67.5: yellow",
    "predictive": "(25 x 100 + 10 x 0 + 15 x 50 + 15 x 100 + 15 x 50 + 10 x 100 + 10 x 0) / 100 = 65: average",
    "nicereply": "(4 x 70 + 3 x 77.5 + 2 x 65 + 1 x 50) / 10 = 69.25: Ok",
    "template": "(30 x 80 + 20 x 70 + 25 x 90 + 15 x 60 + 10 x 75) / 100 = 77",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_policy_says_by_an_example_what_it_does(name: str) -> None:
    assert EXAMPLES[name] in TEXTS[name]
    assert f"# {EXAMPLES[name]}" in TEXTS[name].splitlines()
    assert parse_policy(TEXTS[name]).name == name
    assert "vitals check my-policy.toml" in TEXTS[name]


@pytest.mark.parametrize("name", TEXTS)
def test_the_numbers_of_its_cases_come_out_and_every_tier_and_band_is_reached(name: str) -> None:
    done = vitals("test", "--complete", "--json", FOLDER / f"{name}.toml")
    report = json.loads(done.stdout)
    assert [case for case in report["cases"] if case["differences"]] == []
    assert done.exit_code == 0, done.stdout
    assert report["cases"][0]["name"].startswith("the example")


def test_a_copy_that_is_changed_fails_its_cases(tmp_path: Path) -> None:
    (tmp_path / "template.toml").write_text(TEXTS["template"].replace("hundred_at = 10", "hundred_at = 20", 1), "utf-8")
    (tmp_path / "template.test.toml").write_bytes((FOLDER / "template.test.toml").read_bytes())
    done = vitals("test", tmp_path / "template.toml")
    assert done.exit_code == 1
    assert "acme: scores.health.factors.product_usage.points: expected 80, got 40.0" in done.stdout
