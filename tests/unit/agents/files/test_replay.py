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
    assert engagement(score(tmp_path)["a"]) == 90


def test_later_events_are_left_out_and_time_advances_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "engagement.jsonl").write_text(line("1", FIRST_MS) + line("2", FIRST_MS + DAY_MS), encoding="utf-8")
    assert engagement(score(tmp_path, FIRST_MS)["a"]) == 1
    assert engagement(score(tmp_path, FIRST_MS + DAY_MS)["a"]) == 2
    assert engagement(score(tmp_path, FIRST_MS + 90 * DAY_MS)["a"]) == 1
    assert engagement(score(tmp_path, FIRST_MS + 1000 * DAY_MS)["a"]) == 0
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
