"""Every preset is recognised by records of its sender, and events need none."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.proposal.presets import UnrecognisedError, mapping_text, recognise_files
from schemas.sources import BUILT_IN
from stream.mapping.reading import parse_mapping
from tests.golden.test_presets import FIXTURES, FOLDER

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(("name", "preset"), [(name, preset) for name, (preset, _) in FIXTURES.items()])
def test_records_of_a_sender_are_recognised(name: str, preset: str) -> None:
    ((path, recognised),) = recognise_files([FOLDER / name])
    assert (path, recognised) == (FOLDER / name, preset)


def test_events_need_no_mapping() -> None:
    ((_, preset),) = recognise_files([ROOT / "deploy/examples/events.jsonl"])
    assert preset is None


def test_a_file_that_nothing_recognises_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "desk.csv"
    path.write_text("Ticket,Customer\n1,acme\n", "utf-8")
    message = r"no preset makes events of them \(.*\): a draft of a mapping is on stdout"
    with pytest.raises(UnrecognisedError, match=message) as why:
        recognise_files([path, ROOT / "deploy/examples/events.jsonl"])
    assert 'from = "desk"' in why.value.draft
    path = tmp_path / "desk.jsonl"
    path.write_text("{\n", "utf-8")
    with pytest.raises(UnrecognisedError, match=r"no preset makes events of them \(.*\): write a mapping"):
        recognise_files([path])


def test_beside_other_files_the_rules_of_a_preset_are_for_its_own() -> None:
    text = mapping_text("stripe", [Path("a/hooks.jsonl.gz"), Path("b/more.json")])
    mapping = parse_mapping(text, "stripe.toml", BUILT_IN)
    assert {rule.topics for rule in mapping.rules} == {("hooks", "more")}
    debezium = parse_mapping(mapping_text("debezium", [Path("billing.jsonl")]), "debezium.toml", BUILT_IN)
    assert {rule.topics for rule in debezium.rules} == {("accounts", "*.accounts"), ("billing",)}
    assert mapping_text("stripe", []) == (ROOT / "deploy/mappings/stripe.toml").read_text("utf-8")
