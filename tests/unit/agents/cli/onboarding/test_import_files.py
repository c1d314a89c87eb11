"""`vitals import`: what a person sees before, during and after it, and how it goes on."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from typer.testing import Result

from agents.imports import run, sender
from agents.imports.sender import Refused
from agents.imports.spool import SpooledEvent
from agents.kafka import rights_check
from agents.kafka.client import BrokerError
from tests.unit.agents.cli.invoke import ROOT, vitals

TIME = 1_772_000_000_000
PLAN = [
    "4 records in 2 files: 3 events",
    "  topic    events  first                 last",
    "  surveys       1  2026-02-25T06:13:20Z  2026-02-25T06:13:20Z",
    "  billing       2  2026-02-25T06:13:20Z  2026-02-25T06:13:21Z",
    "left out: 1 record (malformed_json)",
]


class FakeSender:
    """Remembers what is sent; the broker is away after `dies_after` lists."""

    sent: ClassVar[list[SpooledEvent]] = []
    dies_after: ClassVar[int] = 99

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, events: Sequence[SpooledEvent]) -> list[Refused]:
        if FakeSender.dies_after == 0:
            raise BrokerError("sending failed: nobody answers")
        FakeSender.dies_after -= 1
        FakeSender.sent += events
        return [Refused(event, "too_large", "it is") for event in events if event.source == "surveys"]


@pytest.fixture(autouse=True)
def _broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rights_check, "require_rights", lambda *_, **__: None)
    monkeypatch.setattr(sender, "oldest_times", lambda *_: {"billing": TIME + 1000})
    monkeypatch.setattr(sender, "Sender", FakeSender)
    monkeypatch.setattr(run, "AT_ONCE", 1)
    monkeypatch.setattr(FakeSender, "sent", [])
    monkeypatch.setattr(FakeSender, "dies_after", 99)
    paid = {"account_id": "acme", "time": TIME, "kind": "invoice_paid"}
    lines = [{**paid, "id": "e2", "time": TIME + 1000}, {**paid, "id": "e1"}]
    Path("billing.jsonl").write_text("\n".join([*map(json.dumps, lines), "{"]), "utf-8")
    Path("surveys.csv").write_text(f"account_id,time,kind,score\nacme,{TIME},nps,7\n", "utf-8")


def imported(*more: str) -> Result:
    return vitals("import", "billing.jsonl", "surveys.csv", *more)


def rejected(path: Path | None = None) -> list[str]:
    (path,) = [path] if path else Path(".vitals-import").glob("*.rejects.jsonl")
    return [json.loads(line)["reason"] for line in path.read_text("utf-8").splitlines()]


def test_a_dry_run_prints_what_would_be_sent_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    done = imported("--dry-run")
    assert done.stdout.splitlines() == [
        *PLAN[:-1],
        (
            "warning: 1 event of billing older than the topic keeps records (retention.ms): the broker deletes them, "
            "perhaps before the workers read them; raise it first"
        ),
        PLAN[-1],
        "dry run: nothing was sent to kafka://127.0.0.1:9092",
    ]
    assert done.exit_code == 1
    assert done.stderr.startswith("billing.jsonl:3: malformed_json: ")
    assert not Path(".vitals-import").exists()
    assert FakeSender.sent == []
    imported("--dry-run", "--rejects", "out.jsonl")
    assert rejected(Path("out.jsonl")) == ["malformed_json"]

    def away(*_: object) -> None:
        raise BrokerError("no Kafka broker")

    monkeypatch.setattr(sender, "oldest_times", away)
    done = imported("--dry-run")
    assert (done.exit_code, done.stdout.splitlines()[:-1]) == (1, PLAN)
    assert done.stderr.endswith("no Kafka broker\n")


def test_nothing_is_sent_where_nobody_can_be_asked() -> None:
    done = imported()
    assert (done.exit_code, FakeSender.sent) == (2, [])
    assert done.stderr == "nobody can be asked here: add --yes to send, or --dry-run to see what would be sent\n"


@pytest.mark.parametrize(("answer", "sends"), [("y\n", True), ("n\n", False)])
def test_a_person_is_asked_first(monkeypatch: pytest.MonkeyPatch, answer: str, sends: bool) -> None:
    from typer.testing import CliRunner  # noqa: PLC0415 -- with an answer

    from agents.cli.main import app  # noqa: PLC0415 -- as above
    from agents.cli.onboarding import import_files  # noqa: PLC0415 -- as above

    monkeypatch.setattr(import_files, "is_terminal", lambda: True)
    done = CliRunner().invoke(app, ["import", "billing.jsonl", "surveys.csv"], input=answer)
    assert "Send 3 events to kafka://127.0.0.1:9092? [y/N]" in done.stdout
    assert bool(FakeSender.sent) == sends
    assert done.exit_code == 1


def test_events_are_sent_in_order_and_what_is_left_out_is_in_a_file() -> None:
    done = imported("--yes")
    assert [(event.source, event.time_ms - TIME) for event in FakeSender.sent] == [
        ("surveys", 0),
        ("billing", 0),
        ("billing", 1000),
    ]
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "2 of 3 events are in the topics"
    assert rejected() == ["malformed_json", "too_large"]
    assert "surveys.csv:2: too_large: it is" in done.stderr.splitlines()
    again = imported("--yes")
    assert "these files have been imported: 2 events were sent; give --from-beginning" in again.stderr
    assert len(FakeSender.sent) == 3
    assert rejected() == ["malformed_json", "too_large"]
    imported("--yes", "--from-beginning")
    assert len(FakeSender.sent) == 6


def test_the_same_command_goes_on_after_the_broker_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSender, "dies_after", 2)
    done = imported("--yes")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-2:] == [
        "sending failed: nobody answers",
        "stopped after 2 of 3 events: the same command goes on from there",
    ]
    monkeypatch.setattr(FakeSender, "dies_after", 99)
    done = imported("--yes", "--json")
    assert "going on after 2 of 3 events\n" in done.stderr
    report = json.loads(done.stdout)
    assert (report["sent"], report["refused_by_broker"], report["refused"]) == (2, 1, {"malformed_json": 1})
    assert [event.value and event.source for event in FakeSender.sent] == ["surveys", "billing", "billing"]
    assert rejected() == ["malformed_json", "too_large"]


def test_a_file_that_changed_is_named_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSender, "dies_after", 1)
    imported("--yes")
    with Path("surveys.csv").open("a") as file:
        file.write(f"bolt,{TIME},nps,3\n")
    done = imported("--yes")
    assert (done.exit_code, len(FakeSender.sent)) == (2, 1)
    assert done.stderr.startswith("surveys.csv changed since this import began, and 0 of 3 events were sent: ")


def test_a_policy_with_its_own_source_has_its_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "oldest_times", lambda *_: {})
    folder = ROOT / "deploy/examples/own-source"
    done = vitals("import", folder / "crm.licences.jsonl", "--policy", folder / "licences.toml", "--yes")
    assert done.exit_code == 1, "the example has a line that cannot be used"
    assert {event.source for event in FakeSender.sent} == {"licences"}
    assert "  crm.licences       3  " in done.stdout


def test_the_how_to_page_shows_what_a_dry_run_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "oldest_times", lambda *_: {})
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs/how-to/load-your-history.md").read_text("utf-8")
    ((command, output),) = re.findall(r"^```console\n\$ vitals (.*)\n((?:.*\n)*?)```$", page, re.MULTILINE)
    done = vitals(*shlex.split(command))
    assert done.exit_code == 0, done.stderr
    assert done.stdout == output
