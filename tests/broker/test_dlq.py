"""`vitals dlq` against a real Kafka: letters go back byte for byte, in order and once; a mended event counts."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from schemas.topics import ERROR_HEADER, WEBHOOK_DLQ
from tests.faults import topic_log
from tests.faults.deployment import Deployment
from tests.faults.events import BILLING, END_MS, HOUR_MS, USAGE, event
from tests.faults.topic_log import Message, Stored
from tests.faults.worker_process import ROOT, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.topic_log import Headers

pytestmark = pytest.mark.broker

TIME_MS = END_MS - HOUR_MS
LETTERS = f"{USAGE}.dlq"


def vitals(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that has ended."""
    return subprocess.run(
        [sys.executable, "-m", "agents", *arguments],
        env=clean_environment(deployment.settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def answer(deployment: Deployment, *arguments: str) -> Any:
    """What a command prints with --json; it must end with 0."""
    done = vitals(deployment, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def counts(groups: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[int, int, int]]:
    return {
        (group["topic"], group["reason"]): (group["open"], group["replayed"], group["discarded"]) for group in groups
    }


def log(deployment: Deployment, topic: str) -> list[Stored]:
    return topic_log.read(deployment.kafka.bootstrap, [topic])[topic]


def letter(number: int, value: bytes | None, key: bytes | None, *, reason: str, headers: Headers = ()) -> Message:
    """A dead letter as a worker writes it: the record at an offset of partition 1."""
    error = {"reason": reason, "message": "a test", "topic": USAGE, "partition": 1, "offset": number}
    error_headers = tuple((ERROR_HEADER + name, str(text).encode()) for name, text in error.items())
    return Message(LETTERS, key, value, TIME_MS + number, (*headers, *error_headers), 1)


def test_letters_go_back_byte_for_byte_in_order_and_once(tmp_path: Path) -> None:
    headers: Headers = (("trace", b"\x00\xff"), ("trace", b"again"), ("empty", None))
    letters = [
        letter(0, b"\xff\xfe not UTF-8", b"\xff key", reason="bad_utf8", headers=headers),
        letter(1, None, b"a", reason="null_value"),
        letter(2, None, None, reason="null_value"),
        letter(3, b"", None, reason="malformed_json"),
        letter(3, b"", None, reason="malformed_json"),  # written once more after a crash
        *(letter(number, b"%d" % number, b"a", reason="invalid_field") for number in range(4, 504)),
        letter(504, b"x" * 3_000_000, b"a", reason="invalid_field"),
    ]
    with Deployment(tmp_path) as deployment:
        deployment.send(letters)
        assert counts(answer(deployment, "dlq", "list"))[LETTERS, "null_value"] == (2, 0, 0)
        dry = answer(deployment, "dlq", "replay", "--dry-run")
        assert sum(row["letters"] for row in dry["letters"]) == len(letters)
        assert log(deployment, USAGE) == []
        one_reason = answer(deployment, "dlq", "replay", "--reason", "null_value", "--topic", USAGE)
        assert one_reason["letters"] == [
            {"topic": LETTERS, "reason": "null_value", "outcome": "replayed", "letters": 2}
        ]
        refused = vitals(deployment, "dlq", "replay")
        assert refused.returncode == 1
        assert "MessageSizeTooLarge" in refused.stderr, "the input takes 1 MB"
        answer(deployment, "dlq", "discard", "--since", str(TIME_MS + 504))
        assert answer(deployment, "dlq", "replay")["letters"] == []
        replayed = log(deployment, USAGE)
        expected = [letters[1], letters[2], letters[0], letters[3], *letters[5:-1]]
        assert [(record.key, record.value) for record in replayed] == [(each.key, each.value) for each in expected]
        assert {record.partition for record in replayed} == {1}
        assert replayed[2].headers == (*headers, ("vitals.replayed_from", f"{LETTERS}/1/0".encode()))
        assert counts(answer(deployment, "dlq", "list")) == {
            (LETTERS, "bad_utf8"): (0, 1, 0),
            (LETTERS, "invalid_field"): (0, 500, 1),
            (LETTERS, "malformed_json"): (0, 2, 0),
            (LETTERS, "null_value"): (0, 2, 0),
        }


def test_an_event_that_came_too_early_counts_once_after_its_replay(tmp_path: Path) -> None:
    """Its time is in the future for the first worker, whose time moves with the events only."""
    early = event(USAGE, "early", "acct-1", TIME_MS + 10 * HOUR_MS, user_id="u-early")
    with Deployment(tmp_path) as deployment:
        deployment.send([event(USAGE, "first", "acct-1", TIME_MS, user_id="u1"), early])
        deployment.start()
        deployment.until_done()
        (group,) = answer(deployment, "dlq", "list", "--account", "acct-1")
        assert (group["reason"], group["open"]) == ("in_the_future", 1)
        shown = answer(deployment, "dlq", "show", group["example"])
        assert (shown["key"], shown["value"], shown["state"]) == ("acct-1", (early.value or b"").decode(), "open")
        text = vitals(deployment, "dlq", "show", group["example"]).stdout
        assert "reason   in_the_future" in text
        deployment.send([event(USAGE, "later", "acct-2", TIME_MS + 11 * HOUR_MS, user_id="u2")])
        deployment.until_done()
        answer(deployment, "dlq", "replay")
        answer(deployment, "dlq", "replay")
        deployment.until_done()
        identities = [json.loads(record.value or b"{}")["id"] for record in log(deployment, USAGE)]
        assert identities.count("early") == 2, "the event, and its replay"


def test_alerts_that_a_sink_refused_are_shown_and_discarded_but_not_written_to_all_readers(tmp_path: Path) -> None:
    refused = Message(WEBHOOK_DLQ, b"a", b"{}", TIME_MS, ((f"{ERROR_HEADER}reason", b"status_400"),), 0)
    with Deployment(tmp_path) as deployment:
        deployment.send([refused])
        assert answer(deployment, "dlq", "replay")["letters"] == []
        chosen = vitals(deployment, "dlq", "replay", "--topic", WEBHOOK_DLQ)
        assert chosen.returncode == 1
        assert "deliver it yourself" in chosen.stderr
        answer(deployment, "dlq", "discard", "--reason", "status_400")
        assert counts(answer(deployment, "dlq", "list")) == {(WEBHOOK_DLQ, "status_400"): (0, 0, 1)}
        assert vitals(deployment, "dlq", "list", "--topic", BILLING).stdout == "no dead letters\n"
        assert vitals(deployment, "dlq", "list", "--topic", "nonsense").returncode == 1
        assert vitals(deployment, "dlq", "show", f"{WEBHOOK_DLQ}/0/9").returncode == 1
        assert vitals(deployment, "dlq", "show", "nonsense").returncode == 2
        assert vitals(deployment, "dlq", "discard").returncode == 2
