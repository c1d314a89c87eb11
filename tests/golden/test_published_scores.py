"""Scores that others have published: the cases beside each policy give the stated numbers, and reach all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pages.blocks import DOCS, ROOT, all_blocks, policy_files
from tests.unit.agents.cli.invoke import vitals

PUBLISHED = ROOT / "deploy" / "examples" / "published"
PAGE = DOCS / "how-to" / "published-scores.md"
POLICIES = policy_files(PUBLISHED)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.stem)
def test_the_stated_numbers_come_out_and_every_tier_is_reached(policy: Path) -> None:
    done = vitals("test", "--complete", "--json", policy)
    report = json.loads(done.stdout)
    assert [case for case in report["cases"] if case["differences"]] == []
    assert done.exit_code == 0, done.stdout


def test_the_page_shows_every_policy_as_it_is_in_its_file() -> None:
    shown = {block.title: block.body for block in all_blocks(PAGE) if block.language == "toml"}
    assert shown == {str(file.relative_to(ROOT)): file.read_text("utf-8") for file in POLICIES}
    assert len(POLICIES) == 6


def test_the_output_that_the_page_shows_is_that_of_the_command() -> None:
    (console,) = [block.body for block in all_blocks(PAGE) if block.language == "console"]
    command, _, output = console.partition("\n")
    assert command == "$ vitals test deploy/examples/published/users-per-seat.toml"
    assert vitals("test", PUBLISHED / "users-per-seat.toml").stdout == output
