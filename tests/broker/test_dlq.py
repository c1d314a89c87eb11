"""`vitals dlq` against a real Kafka: letters go back byte for byte, in order and once; a mended event counts."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agents.dlq.replay import CHUNK
from schemas.topics import ERROR_HEADER, WEBHOOK_DLQ
from tests.broker.child import ChildProcess
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
ACCOUNT = next(name for name in map("acct-{}".format, range(99)) if topic_log.partition_of(name.encode()) == 1)


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
    error = {
        "reason": reason,
        "message": "a test",
        "topic": USAGE,
        "partition": 1,
        "offset": number,
        "time": number + 1,
    }
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
        assert [record.timestamp_ms for record in replayed[:4]] == [2, 3, 1, 4]
        assert replayed[2].headers == (*headers, ("vitals.replayed_from", f"{LETTERS}/1/0".encode()))
        assert counts(answer(deployment, "dlq", "list")) == {
            (LETTERS, "bad_utf8"): (0, 1, 0),
            (LETTERS, "invalid_field"): (0, 500, 1),
            (LETTERS, "malformed_json"): (0, 2, 0),
            (LETTERS, "null_value"): (0, 2, 0),
        }


@pytest.mark.faults
def test_a_replayed_event_counts_once_even_if_what_was_replayed_is_forgotten(tmp_path: Path) -> None:
    """The letter is one that a worker of today would not write, as after a mistake in the worker that wrote it."""
    lost = event(USAGE, "lost", ACCOUNT, TIME_MS, user_id="u-lost")
    with Deployment(tmp_path) as deployment:
        deployment.send([event(USAGE, "first", ACCOUNT, TIME_MS, user_id="u1")])
        deployment.send([letter(77, lost.value, lost.key, reason="invalid_field")])
        deployment.start()
        (group,) = answer(deployment, "dlq", "list", "--account", ACCOUNT)
        assert (group["reason"], group["open"]) == ("invalid_field", 1)
        shown = answer(deployment, "dlq", "show", group["example"])
        assert (shown["key"], shown["value"], shown["state"]) == (ACCOUNT, (lost.value or b"").decode(), "open")
        assert "reason   invalid_field" in vitals(deployment, "dlq", "show", group["example"]).stdout
        for _ in range(2):
            answer(deployment, "dlq", "replay")
        deployment.until_done()
        assert deployment.settled() == {(USAGE, "applied"): 2}
        forget = Message("vitals-dlq-progress", group["example"].encode(), None, TIME_MS, (), 0)
        deployment.send([forget])
        answer(deployment, "dlq", "replay")
        deployment.until_done()
        assert deployment.settled() == {(USAGE, "applied"): 2, (USAGE, "duplicate"): 1}
        identities = [json.loads(record.value or b"{}")["id"] for record in log(deployment, USAGE)]
        assert sorted(identities) == ["first", "lost", "lost"]


@pytest.mark.faults
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


@pytest.mark.faults
def test_a_replay_that_is_killed_is_continued_by_the_next_and_no_letter_is_missing(tmp_path: Path) -> None:
    values = [b"%05d" % number for number in range(8_000)]
    with Deployment(tmp_path) as deployment:
        deployment.send([letter(number, value, b"a", reason="bad_utf8") for number, value in enumerate(values)])
        command = [sys.executable, "-m", "agents", "dlq", "replay"]
        child = ChildProcess(command, log=tmp_path / "replay.log", env=clean_environment(deployment.settings), cwd=ROOT)
        deployment.until(lambda: len(log(deployment, USAGE)) > CHUNK, "letters are replayed")
        child.kill()
        before = len(log(deployment, USAGE))
        assert before < len(values), "the replay was killed too late"
        answer(deployment, "dlq", "replay")
        replayed = [record.value for record in log(deployment, USAGE)]
        assert list(dict.fromkeys(replayed)) == values, "each letter, in order"
        assert len(replayed) - len(values) <= CHUNK
        assert answer(deployment, "dlq", "replay")["letters"] == []
