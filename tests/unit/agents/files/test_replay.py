"""Event files as topics: order, late and duplicate events, the time to score at."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from agents.files.replay import replay_files
from agents.settings.settings import default_policy
from schemas.outputs import ScoreMessage
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

PLAN = compile_plan(parse_policy(default_policy().read_text(encoding="utf-8"), "template.toml"))
DAY_MS = 86_400_000
FIRST_MS = 20_000 * DAY_MS


def line(identity: str, time_ms: int, account: str = "a") -> str:
    return json.dumps({"id": identity, "account_id": account, "time": time_ms, "kind": "webinar"}) + "\n"


def score(folder: Path, as_of_ms: int | None = None) -> dict[str, ScoreMessage]:
    replay = replay_files(sorted(folder.glob("*.jsonl")), PLAN, as_of_ms)
    messages = [msgspec.json.decode(sent.value, type=ScoreMessage) for sent in replay.engine.current().scores]
    return {message.account_id: message for message in messages}


def engagement(message: ScoreMessage) -> float | None:
    return next(factor.value for factor in message.scores["health"].factors if factor.measure == "engagement")


def test_events_are_applied_in_order_of_time(tmp_path: Path) -> None:
    lines = [line(str(day), FIRST_MS + day * DAY_MS) for day in range(200)]
    file = tmp_path / "engagement.jsonl"
    file.write_text("".join(reversed(lines)), encoding="utf-8")
    replay = replay_files([file], PLAN)
    assert +replay.outcomes == {("engagement", "applied"): 200}
    assert engagement(score(tmp_path)["a"]) == 91


def test_later_events_are_left_out_and_time_advances_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "engagement.jsonl").write_text(line("1", FIRST_MS) + line("2", FIRST_MS + DAY_MS), encoding="utf-8")
    assert engagement(score(tmp_path, FIRST_MS)["a"]) == 1
    assert engagement(score(tmp_path, FIRST_MS + DAY_MS)["a"]) == 2
    assert engagement(score(tmp_path, FIRST_MS + 35 * DAY_MS)["a"]) == 2
    assert score(tmp_path, FIRST_MS + 36 * DAY_MS)["a"].state == "no-data"
    assert score(tmp_path, FIRST_MS - 1) == {}


def test_the_same_event_in_two_files_counts_once(tmp_path: Path) -> None:
    first = tmp_path / "engagement.jsonl"
    first.write_text(line("1", FIRST_MS), encoding="utf-8")
    tagged = json.loads(line("1", FIRST_MS)) | {"topic": "engagement"}
    second = tmp_path / "all.jsonl"
    second.write_text(json.dumps(tagged), encoding="utf-8")
    replay = replay_files([first, second], PLAN)
    assert +replay.outcomes == {("engagement", "applied"): 1, ("engagement", "duplicate"): 1}


def test_more_events_than_fit_one_step(tmp_path: Path) -> None:
    lines = [line(str(number), FIRST_MS + number * 60_000, f"account-{number % 7}") for number in range(12_000)]
    (tmp_path / "engagement.jsonl").write_text("".join(lines), encoding="utf-8")
    messages = score(tmp_path)
    assert sum(engagement(message) or 0 for message in messages.values()) == 12_000


def test_an_empty_file_has_no_accounts(tmp_path: Path) -> None:
    (tmp_path / "engagement.jsonl").write_bytes(b"\n\n")
    assert score(tmp_path) == {}


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    tagged = json.dumps(json.loads(line("2", FIRST_MS)) | {"topic": "engagement"})
    for name, text in (("engagement", line("1", FIRST_MS)), ("all", tagged)):
        (tmp_path / f"{name}.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    replay = replay_files(sorted(tmp_path.glob("*.jsonl")), PLAN)
    assert not replay.bad
    assert +replay.outcomes == {("engagement", "applied"): 2}


def test_every_refused_line_has_its_file_and_number(tmp_path: Path) -> None:
    """Whoever refuses it: the decoder, the check of times, or the policy, which has no band gold."""
    override = {"kind": "override", "band": "gold", "reason": "r", "expires_at": FIRST_MS + DAY_MS}
    control = json.dumps({"id": "c", "account_id": "a", "time": FIRST_MS} | override)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first, second = tmp_path / "one/engagement.jsonl", tmp_path / "two/engagement.jsonl"
    controls = tmp_path / "two/controls.jsonl"
    first.write_text(line("1", FIRST_MS) + line("2", FIRST_MS), encoding="utf-8")
    second.write_text(line("3", FIRST_MS) + '{"id": 4}\n\n' + line("5", 7), encoding="utf-8")
    controls.write_text("\n" + control, encoding="utf-8")
    replay = replay_files([first, second, controls], PLAN)
    refused = sorted((bad.file, bad.line, bad.reason) for bad in replay.bad)
    assert refused == [
        (str(controls), 2, "invalid_field"),
        (str(second), 2, "invalid_field"),
        (str(second), 4, "implausible_time"),
    ]


def test_a_file_can_be_one_array(tmp_path: Path) -> None:
    file = tmp_path / "engagement.jsonl"
    file.write_text("[\n" + line("1", FIRST_MS) + "]\n", encoding="utf-8")
    replay = replay_files([file], PLAN)
    assert (len(replay.records), replay.bad) == (1, [])


def test_an_array_that_is_cut_off_is_reported_once(tmp_path: Path) -> None:
    file = tmp_path / "engagement.jsonl"
    file.write_text("[\n" + line("1", FIRST_MS), encoding="utf-8")
    (bad,) = replay_files([file], PLAN).bad
    assert (bad.line, bad.reason) == (1, "unreadable_file")
    assert bad.message.startswith("the file begins as a JSON array and is none: ")


def test_a_line_in_the_form_of_another_system_is_named(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    cloud_event = {"specversion": "1.0", "type": "t", "source": "s", "id": "1", "data": {}}
    file.write_text(json.dumps(cloud_event), encoding="utf-8")
    (bad,) = replay_files([file], PLAN).bad
    assert (bad.line, bad.reason) == (1, "invalid_field")
    assert bad.message.startswith("the value is a CloudEvent; the event is its data: map such records to events")
