"""An import takes what `vitals score` takes, in the same order, and each other record is in the rejects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.files.formats import expanded
from agents.files.mappings import mapping_file
from agents.files.playback import BadLine
from agents.files.replay import Reading, read_events
from agents.imports.plan import Plan, empty_plan
from agents.imports.reading import EventFiles, changed, inputs_of
from agents.imports.rejects import Rejects
from agents.imports.spool import Spool, SpooledEvent
from schemas.sources import BUILT_IN
from stream.mapping.reading import parse_mapping

ROOT = Path(__file__).parents[4]
EXPORTS = ROOT / "deploy" / "examples" / "exports"
DESK = parse_mapping((EXPORTS / "desk.toml").read_text("utf-8"), "desk.toml")
TIME = 1_772_000_000_000
BILLING = {"id": "e1", "account_id": "acme", "time": TIME, "kind": "invoice_paid"}


def read(paths: list[Path], how: Reading, oldest: dict[str, int], rejects: Path) -> tuple[list[SpooledEvent], Plan]:
    plan = empty_plan(BUILT_IN)
    with Rejects(rejects, remembered=2) as kept_out:
        return list(EventFiles(paths, BUILT_IN, how, oldest).events(plan, kept_out)), plan


@pytest.mark.parametrize(
    ("files", "how"),
    [
        ([ROOT / "deploy/examples/events.jsonl", ROOT / "tests/golden/data"], Reading()),
        ([EXPORTS], Reading(mapping=DESK, latest_ms=1_773_000_000_000)),
        (sorted((ROOT / "tests/golden/presets").rglob("*.jsonl"))[:3], Reading()),
    ],
)
def test_the_events_are_those_of_score(tmp_path: Path, files: list[Path], how: Reading) -> None:
    paths = expanded(files)
    bad: list[BadLine] = []
    expected = read_events(paths, bad, how)
    events, plan = read(paths, how, {}, tmp_path / "rejects.jsonl")
    with Spool.create(tmp_path / "spool", {}, events, plan) as spool:
        sorted_events = next(spool.unsent(len(events) + 1), [])
    assert [(each.time_ms, each.source, each.account, each.file, each.line) for each in sorted_events] == [
        (each.time_ms, each.source, each.event.account_id, each.file, each.line) for each in expected
    ]
    assert plan.events == len(expected)
    rejects = tmp_path / "rejects.jsonl"
    left_out = [json.loads(line) for line in rejects.read_text("utf-8").splitlines()] if rejects.exists() else []
    key = sorted((each["file"], each["line"], each["message"]) for each in left_out)
    assert key == sorted((each.file, each.line, each.message) for each in bad)


def test_what_is_left_out_is_counted_and_written_with_its_record(tmp_path: Path) -> None:
    path = tmp_path / "billing.jsonl"
    records: list[object] = [
        BILLING,
        {**BILLING, "id": "e2", "time": TIME - 10, "kind": "bribe"},
        {**BILLING, "id": "e3", "time": 1},
        {**BILLING, "id": "e4", "time": TIME + 1},
    ]
    path.write_text("\n".join([*map(json.dumps, records), "{"]), "utf-8")
    accounts = tmp_path / "accounts.csv"
    accounts.write_text(f"id,account_id,time,arr\np1,acme,{TIME},12\np2,bolt,{TIME},much\n", "utf-8")
    events, plan = read([path, accounts], Reading(latest_ms=TIME), {"billing": TIME + 1}, tmp_path / "out" / "r.jsonl")
    assert [(event.source, event.account, event.line) for event in events] == [
        ("billing", "acme", 1),
        ("accounts", "acme", 2),
        ("accounts", "bolt", 3),
    ]
    assert events[0].value == json.dumps(BILLING).encode()
    assert plan.refused == {"invalid_field": 1, "malformed_json": 1, "implausible_time": 1, "in_the_future": 1}
    assert plan.incomplete == 1
    billing = plan.sources["billing"]
    assert (billing.events, billing.first_ms, billing.last_ms, billing.expired) == (1, TIME, TIME, 1)
    assert plan.sources["accounts"].expired is None
    left_out = [json.loads(line) for line in (tmp_path / "out" / "r.jsonl").read_text("utf-8").splitlines()]
    assert {(each["line"], each["reason"]): each["record"] for each in left_out} == {
        (2, "invalid_field"): json.dumps(records[1]),
        (3, "implausible_time"): json.dumps(records[2]),
        (4, "in_the_future"): json.dumps(records[3]),
        (5, "malformed_json"): "{",
        (3, "sent_without_fields"): {"id": "p2", "account_id": "bolt", "time": str(TIME), "arr": "much"},
    }


def test_a_record_that_deletes_a_profile_is_sent_without_a_value(tmp_path: Path) -> None:
    path = tmp_path / "gone.csv"
    path.write_text(f"who,when\nacme,{TIME}\n", "utf-8")
    mapping = parse_mapping(
        '[[map]]\nname = "gone"\nto = "accounts"\ndelete = true\n'
        'fields = { account_id = "who", time = { path = "when", unit = "ms" } }\n',
        "gone.toml",
    )
    (event,), plan = read([path], Reading(mapping=mapping), {}, tmp_path / "rejects.jsonl")
    assert (event.account, event.value, event.time_ms) == ("acme", None, TIME)
    assert plan.sources["accounts"].deletions == 1


def test_a_file_or_mapping_that_changed_is_named(tmp_path: Path) -> None:
    path, mapping = tmp_path / "billing.jsonl", mapping_file("stripe")
    path.write_text("{}\n", "utf-8")
    before = inputs_of([path, Path("-")], [mapping], BUILT_IN, 0)
    assert changed(before, inputs_of([path], [mapping], BUILT_IN, 0)) == []
    path.write_text("{}\n{}\n", "utf-8")
    assert changed(before, inputs_of([path], [mapping], BUILT_IN, 1)) == ["--allow-before", str(path)]
    assert changed(before, inputs_of([], [mapping], BUILT_IN, 0)) == [str(path)]


def test_rejects_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    bad = BadLine("a.jsonl", 1, "malformed_json", "it is")
    for goes_on, lines in ((False, 3), (False, 3), (True, 3)):
        with Rejects(path, remembered=2, goes_on=goes_on) as rejects:
            for _ in range(3):
                rejects.add(bad, b"\xff{")
        assert (len(rejects.first), rejects.counts) == (2, {("a.jsonl", "malformed_json"): 3})
        assert len(path.read_text("utf-8").splitlines()) == lines
    with Rejects(path, remembered=2):
        pass
    assert not path.exists()


def test_rejects_that_were_written_before_a_kill_are_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    bad = [BadLine("a.jsonl", number, "too_large", "too large") for number in (1, 2)]
    with Rejects(path, remembered=2) as rejects:
        rejects.add(bad[0], b"{}")
    path.write_bytes(path.read_bytes() + b'{"file": "a.jso')
    with Rejects(path, remembered=2, goes_on=True) as rejects:
        for each in bad:
            rejects.add(each, b"{}")
        assert rejects.counts["a.jsonl", "too_large"] == 2
    assert [json.loads(line)["line"] for line in path.read_text("utf-8").splitlines()] == [1, 2]
