"""Files of cases: what is read from them, and each mistake with its line and what is allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.cases.case_file import CaseFile, Context, read_cases
from stream.columns.calendar import Calendar
from stream.policy.errors import PolicyError

AS_OF = "as_of = 2026-03-27T12:00:00Z"
AS_OF_MS = 1_774_612_800_000
DAY_MS = 86_400_000
EVENT = 'topic = "engagement", account = "a", ago = "1d"'


def read(folder: Path, text: str) -> CaseFile:
    file = folder / "p.test.toml"
    file.write_text(text, encoding="utf-8")
    return read_cases(file)


def events(folder: Path, *tables: str, rest: str = "") -> list[dict[str, Any]]:
    (case,) = read(folder, f'[[cases]]\nname = "n"\n{AS_OF}\n{rest}\nevents = [{", ".join(tables)}]').cases
    return [json.loads(line) for line, _ in case.lines]


def test_the_policy_is_the_file_beside_it_or_the_one_that_is_named(tmp_path: Path) -> None:
    case = f'[[cases]]\nname = "n"\n{AS_OF}'
    assert read(tmp_path, case).policy == tmp_path / "p.toml"
    assert read(tmp_path, f'policy = "other/q.toml"\n{case}').policy == tmp_path / "other/q.toml"


def test_an_event_is_written_as_the_fields_of_its_topic(tmp_path: Path) -> None:
    (event,) = events(tmp_path, '{ topic = "engagement", account = "a", ago = "36h", kind = "call", minutes = 3 }')
    assert event == {
        "id": "event-1",
        "account_id": "a",
        "time": AS_OF_MS - 36 * 3_600_000,
        "topic": "engagement",
        "kind": "call",
        "minutes": 3,
    }


def test_many_events_have_ids_texts_and_times_of_their_own(tmp_path: Path) -> None:
    many = events(
        tmp_path,
        '{ topic = "product-usage", ago = "10d", times = 3, every = "1d", user_id = "u{n}",'
        ' properties = { seat = "s{n}" } }',
        '{ topic = "product-usage", account = "b", at = 2026-03-27, id = "mine" }',
        rest='account = "a"',
    )
    assert [event["id"] for event in many] == ["event-1", "event-2", "event-3", "mine"]
    assert [event.get("user_id") for event in many] == ["u1", "u2", "u3", None]
    assert [event.get("properties") for event in many] == [{"seat": "s1"}, {"seat": "s2"}, {"seat": "s3"}, None]
    assert [event["account_id"] for event in many] == ["a", "a", "a", "b"]
    ages = [(AS_OF_MS - event["time"]) / DAY_MS for event in many]
    assert ages == [10, 9, 8, 0.5]


def test_times_in_fields_and_expectations_are_epoch_milliseconds(tmp_path: Path) -> None:
    text = f'[[cases]]\nname = "n"\n{AS_OF}\nalerts = [{{ starts_at = 2026-03-27T12:00:00Z }}]\n'
    text += "changes.a = [{ time = 2026-03-28T12:00:00Z }]\nchanges.b = 2\nchanges.c = []\n"
    (case,) = read(tmp_path, text + "[cases.expect.a]\nnew_until = 2026-03-28T12:00:00Z").cases
    assert case.changes == {"a": ({"time": AS_OF_MS + DAY_MS},), "b": 2, "c": ()}
    assert case.alerts == ({"starts_at": AS_OF_MS},)
    assert case.checks[-1].accounts == {"a": {"new_until": AS_OF_MS + DAY_MS}}
    (event,) = events(tmp_path, '{ topic = "accounts", account = "a", ago = "1d", started_at = 2026-03-26T12:00:00Z }')
    assert event["started_at"] == AS_OF_MS - DAY_MS


def test_checks_are_in_order_of_time_and_the_end_is_the_last(tmp_path: Path) -> None:
    text = f'[[cases]]\nname = "n"\n{AS_OF}\nexpect.a = "none"\nchecks = [{{ ago = "1d" }}, {{ as_of = 2026-03-01 }}]'
    (case,) = read(tmp_path, text).cases
    assert [check.as_of_ms for check in case.checks] == [AS_OF_MS - 25.5 * DAY_MS - 1, AS_OF_MS - DAY_MS, AS_OF_MS]
    assert case.end_ms == AS_OF_MS


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        ("cases = 3", 1, "cases", "must be a list of at least one case, [[cases]]"),
        (f"[[cases]]\n{AS_OF}", 1, "cases[0].name", "missing: must be a sentence"),
        ('[[cases]]\nname = "n"', 1, "cases[0].as_of", "missing: must be a time with an offset, such as 2026-03-27T12"),
        ('[[cases]]\nname = "n"\nas_of = "2026-03-27T12:00:00Z"', 3, "cases[0].as_of", 'not "2026-03-27T12:00:00Z"'),
        ('[[cases]]\nname = "n"\nas_of = 2026-03-27T12:00:00', 3, "cases[0].as_of", "with an offset"),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nexpects = {{}}', 4, "cases[0].expects", 'did you mean "expect"?'),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nevents = 3', 4, "cases[0].events", "must be a list of events"),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nevents = [3]', 4, "cases[0].events[0]", "must be a table with topic"),
        (
            f'[[cases]]\nname = "n"\n{AS_OF}\nevents = [\n{{ topic = "billings", account = "a", ago = "1d" }}]',
            5,
            "cases[0].events[0].topic",
            'did you mean "billing"?',
        ),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nevents = [{{ topic = "billing", ago = "1d" }}]', 4, "account", "missing"),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nevents = [{{ topic = "billing", account = "a" }}]', 4, "at", "missing"),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nevents = [{{ {EVENT}, at = 2026-01-01 }}]', 4, "at", "or write ago"),
        (
            f'[[cases]]\nname = "n"\n{AS_OF}\nevents = [{{ topic = "billing", account = "a", ago = "1 day" }}]',
            4,
            "ago",
            'a span of time, such as "3d"',
        ),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nevents = [{{ {EVENT}, every = 1 }}]', 4, "every", "a span of time"),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nevents = [{{ {EVENT}, times = 0 }}]', 4, "times", "1 to 1,000,000"),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nexpect.a = 3', 4, "cases[0].expect.a", 'or "none" for no record'),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nchecks = [{{ as_of = 2027-01-01 }}]', 4, "as_of", "must not be after as_of"),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nalerts = "none"', 4, "cases[0].alerts", "a list of alerts in order"),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nalerts = [\n{{}},\n3]', 6, "cases[0].alerts[1]", "health.alerts, not 3"),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nchanges = 3', 4, "cases[0].changes", "a table of accounts, each with"),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nchanges.a = -1', 4, "cases[0].changes.a", "0 or more, or a list of all of"),
        (f'[[cases]]\nname = "n"\n{AS_OF}\nchanges.a = true', 4, "cases[0].changes.a", "not true"),
        (
            f'[[cases]]\nname = "n"\n{AS_OF}\nchanges.a = [\n{{ to = 3 }},\n"none",\n]',
            6,
            "cases[0].changes.a[1]",
            'must be a table with fields of its record in health.score-changes, not "none"',
        ),
        (f'[[cases]]\nname = "n"\n{AS_OF}\ntolerance = "x"', 4, "cases[0].tolerance", "by which numbers may differ"),
        ("[[cases]", None, "TOML", "Expected ']]'"),
    ],
)
def test_a_mistake_has_its_line_and_says_what_is_allowed(
    tmp_path: Path, text: str, line: int | None, key: str, message: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        read(tmp_path, text)
    (problem,) = caught.value.problems
    assert problem.line == line
    assert problem.key.endswith(key)
    assert message in problem.message
    assert problem.file == str(tmp_path / "p.test.toml")


def test_a_date_as_moment_is_its_end_and_as_time_of_an_event_its_beginning(tmp_path: Path) -> None:
    event = 'events = [{ topic = "engagement", account = "a", at = 2026-03-26 }]'
    checks = "checks = [{ as_of = 2026-03-26, expect = {} }]"
    (case,) = read(tmp_path, f'[[cases]]\nname = "n"\nas_of = 2026-03-27\n{event}\n{checks}').cases
    midnight = AS_OF_MS - DAY_MS // 2
    assert [check.as_of_ms for check in case.checks] == [midnight - 1, midnight + DAY_MS - 1]
    assert json.loads(case.lines[0][0])["time"] == midnight - DAY_MS


def test_dates_are_days_of_the_time_zone_of_the_policy(tmp_path: Path) -> None:
    """2026-03-08 has 23 hours in New York."""
    file = tmp_path / "p.test.toml"
    event = '{ topic = "engagement", account = "a", at = 2026-03-08 }'
    file.write_text(f'[[cases]]\nname = "n"\nas_of = 2026-03-08\nevents = [{event}]', encoding="utf-8")
    (case,) = read_cases(file, lambda _policy: Context(calendar=Calendar(timezone="America/New_York"))).cases
    ((line, _),) = case.lines
    begins_ms, ends_ms = 1_772_946_000_000, 1_773_028_800_000  # 05:00 UTC, and 04:00 UTC on the next day
    assert (json.loads(line)["time"], case.checks[-1].as_of_ms) == (begins_ms, ends_ms - 1)
