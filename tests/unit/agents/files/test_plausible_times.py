"""Times that cannot be true are refused with file and line, and never become the moment of the scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.files.playback import BadLine
from agents.files.replay import Reading, read_events, reading_of, replay_files
from agents.settings.settings import default_policy
from schemas.codecs import decode
from schemas.plausible_times import EARLIEST_MS, refusal, unit_of
from schemas.sources import BUILT_IN
from stream.engine.engine import Mode
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy

PLAN = compile_plan(parse_policy(default_policy().read_text(encoding="utf-8"), "template.toml"))
NOW_MS = 1_774_612_800_000  # 2026-03-27T12:00:00Z
MINUTE_MS, DAY_MS = 60_000, 86_400_000
IN_2036_MS = 2_082_758_400_000
IN_1990_MS = 631_152_000_000


def write(folder: Path, *times: object) -> Path:
    (folder / "two").mkdir(exist_ok=True)
    path = folder / "two" / "engagement.jsonl"
    lines = [
        json.dumps({"id": str(number), "account_id": "a", "time": time, "kind": "webinar"})
        for number, time in enumerate(times)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def refused(path: Path, reading: Reading) -> list[BadLine]:
    bad: list[BadLine] = []
    read_events([path], bad, reading)
    return bad


def test_an_event_of_2036_does_not_move_the_moment(tmp_path: Path) -> None:
    path = write(tmp_path, NOW_MS - DAY_MS, IN_2036_MS, NOW_MS - 2 * DAY_MS)
    replay = replay_files([path], PLAN, reading=reading_of(NOW_MS, None), mode=Mode.CONFLATED)
    assert replay.engine.as_of == NOW_MS - DAY_MS
    assert replay.bad == [
        BadLine(
            str(path),
            2,
            "in_the_future",
            "engagement: time 2082758400000 ms (2036-01-01T00:00:00Z) is after 2026-03-27T12:05:00Z - at `$.time`",
        )
    ]


@pytest.mark.parametrize(("later_ms", "count"), [(5 * MINUTE_MS, 0), (5 * MINUTE_MS + 1, 1)])
def test_five_minutes_after_the_clock_are_plausible(tmp_path: Path, later_ms: int, count: int) -> None:
    assert len(refused(write(tmp_path, NOW_MS + later_ms), reading_of(NOW_MS, None))) == count


@pytest.mark.parametrize(("as_of_ms", "count"), [(IN_2036_MS, 0), (IN_2036_MS - 1, 1), (NOW_MS - 9 * DAY_MS, 1)])
def test_a_moment_in_the_future_allows_events_up_to_it(tmp_path: Path, as_of_ms: int, count: int) -> None:
    assert len(refused(write(tmp_path, IN_2036_MS), reading_of(NOW_MS, as_of_ms))) == count


def test_an_event_after_a_past_moment_is_no_bad_line(tmp_path: Path) -> None:
    assert refused(write(tmp_path, NOW_MS - DAY_MS), reading_of(NOW_MS, NOW_MS - 9 * DAY_MS)) == []


@pytest.mark.parametrize(
    ("time", "reason", "unit"),
    [
        (NOW_MS // 1000, "implausible_time", "seconds"),
        (NOW_MS * 1000, "implausible_time", "microseconds"),
        (NOW_MS * 1_000_000, "invalid_field", "nanoseconds"),
        (NOW_MS / 1000 + 0.25, "invalid_field", "seconds"),
    ],
)
def test_a_time_in_another_unit_is_recognised_and_named(tmp_path: Path, time: float, reason: str, unit: str) -> None:
    (bad,) = refused(write(tmp_path, time), reading_of(NOW_MS, None))
    assert (bad.reason, bad.line) == (reason, 1)
    assert f"it is a time in {unit}, and milliseconds are expected" in bad.message


@pytest.mark.parametrize("time", [0, -5, 946_684_799, 10**15 * 9])
def test_a_number_that_is_no_time_in_any_unit_names_none(time: int) -> None:
    assert unit_of(time, NOW_MS) is None
    refusal_of = refusal(time, EARLIEST_MS, NOW_MS)
    assert refusal_of is not None
    assert "it is a time in" not in refusal_of[1]


def test_a_bad_time_that_is_no_number_has_no_hint() -> None:
    (reject,) = decode(BUILT_IN["engagement"], [b'{"id":"1","account_id":"a","time":"yesterday","kind":"x"}']).rejects
    assert "it is a time in" not in reject.message


def test_history_before_2000_is_scored_when_it_is_allowed(tmp_path: Path) -> None:
    path = write(tmp_path, IN_1990_MS, IN_1990_MS + DAY_MS)
    replay = replay_files([path], PLAN, reading=reading_of(NOW_MS, None, IN_1990_MS), mode=Mode.CONFLATED)
    assert (replay.bad, replay.engine.as_of) == ([], IN_1990_MS + DAY_MS)
    assert +replay.outcomes == {("engagement", "applied"): 2}
    (bad,) = refused(path, reading_of(NOW_MS, None, IN_1990_MS + 1))
    assert bad.message == "engagement: time 631152000000 ms is before 1990-01-01T00:00:00Z - at `$.time`"
    assert [line.message for line in refused(path, reading_of(NOW_MS, None))] == [
        "engagement: time 631152000000 ms is before 2000 - at `$.time`",
        "engagement: time 631238400000 ms is before 2000 - at `$.time`",
    ]


def test_profiles_after_the_last_event_are_counted_and_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, NOW_MS - DAY_MS)
    profiles = tmp_path / "accounts.jsonl"
    lines = [json.dumps({"id": "p", "account_id": name, "time": NOW_MS, "arr": 1}) for name in ("a", "only-a-profile")]
    profiles.write_text("\n".join(lines), encoding="utf-8")
    replay = replay_files([path, profiles], PLAN)
    assert (replay.later_profiles, len(replay.engine.accounts.profiles)) == (2, 0)
    assert replay.engine.accounts.index.names == ["a"]
    later = replay_files([path, profiles], PLAN, NOW_MS)
    assert (later.later_profiles, len(later.engine.accounts.profiles)) == (0, 2)
    assert len(later.engine.current().scores) == 1
