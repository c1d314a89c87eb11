"""Cases that hold and cases that do not: what differs is named, with both values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agents.cases.case_file import read_cases
from agents.cases.coverage import not_reached
from agents.cases.run import CaseResult, run_case
from stream.plan.plan import Plan, compile_plan
from stream.policy.policy import parse_policy

POLICY = """
name = "usage"
[status]
dormant_after = "365d"
[segments.enterprise]
when = { tier = ["enterprise"] }
[measures.events]
source = "product-usage"
stat = "count"
window = "7d"
normalise = { kind = "tiers", tiers = [{ from = 0, points = 0 }, { from = 5, points = 60 }, { from = 9, points = 99 }] }
weight = 1
[scores.health]
min_change = 1
exceptions = [{ measure = "events", points_below = 50, band = "low" }]
bands = [{ name = "high", from = 50 }, { name = "low", from = 0, alert = "warning" }]
"""
CASE = """
[[cases]]
name = "five events, then none"
as_of = 2026-03-27T12:00:00Z
account = "a"
events = [{ topic = "product-usage", ago = "10d", times = 5 }]
"""
SECOND = "a: change 2 (window at 2026-03-24T00:00:00Z, health 60.0 to 0.0)"


def plan() -> Plan:
    return compile_plan(parse_policy(POLICY))


def run(folder: Path, rest: str, case: str = CASE) -> CaseResult:
    file = folder / "usage.test.toml"
    file.write_text(case + rest, encoding="utf-8")
    (read,) = read_cases(file).cases
    return run_case(read, plan())


def test_a_case_that_holds_has_no_difference(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        """
alerts = [{ status = "firing", rule = "band:health:low", starts_at = 2026-03-24, fall.factors.events.delta = -60 }]
[cases.changes]
b = 0
c = []
a = [
  { cause = "event", from = 0, to = 60, band_from = "none", factors.events = { before = 0, after = 60, delta = 60 } },
  { cause = "window", time = 2026-03-24, to = 0, band_to = "low", state = "none", factors.events.delta = -60 },
]
[cases.expect.a]
segment = "none"
override = "none"
scores.health = { value = 0, band = "low", exceptions = ["events"], factors.events = { value = 0, points = 0 } }
[[cases.checks]]
ago = "9d"
expect.a.scores.health = { value = 60, band = "high", factors.events.value = 5 }
expect.b = "none"
[[cases.checks]]
ago = "20d"
expect.a = "none"
""",
    )
    assert result.differences == []


@pytest.mark.parametrize(
    ("rest", "difference"),
    [
        ("expect.a.scores.health.value = 1", "a: scores.health.value: expected 1, got 0.0"),
        ('expect.a.scores.health.band = "high"', "a: scores.health.band: expected high, got low"),
        (
            "expect.a.scores.churn.value = 1",
            'a: scores.churn: expected {"value":1}, got no such field; there are health',
        ),
        (
            "expect.a.scores.health.value.x = 1",
            "a: scores.health.value.x: expected 1, got no such field; there are 0.0",
        ),
        (
            'expect.a.scores.health.bandto = "none"',
            "a: scores.health.bandto: expected none, got no such field; there are value, band, factors, exceptions",
        ),
        ('expect.a = "none"', "a: expected no record, got scores health 0.0"),
        ("expect.b.segment = 1", "b: expected a record, got none; accounts with one: a"),
        (
            'checks = [{ ago = "9d", expect.a.scores.health.value = 59 }]',
            "a at 2026-03-18T12:00:00Z: scores.health.value: expected 59, got 60.0",
        ),
        ("changes.a = 3", "a: expected 3 score changes, got 2"),
        ('changes.a = [{ cause = "event" }, { to = 1 }]', f"{SECOND}: to: expected 1, got 0.0"),
        (
            "changes.a = [{}, { factors.events.delta = -6 }]",
            f"{SECOND}: factors.events.delta: expected -6, got -60.0",
        ),
        (
            "changes.a = [{}, { factors.users.delta = 1 }]",
            f'{SECOND}: factors.users: expected {{"delta":1}}, got no such field; there are events',
        ),
        ("changes.a = [{}]", "a: change 2: expected none, got window at 2026-03-24T00:00:00Z, health 60.0 to 0.0"),
        ('changes.a = [{}, {}, { cause = "event" }]', 'a: change 3: expected {"cause":"event"}, got none'),
        ("changes.b = [{ to = 1 }]", 'b: change 1: expected {"to":1}, got none'),
        ("alerts = []", "alert 1: expected none, got firing band:health:low of a at 2026-03-24T00:00:00Z"),
        (
            'alerts = [{ rule = "other" }]',
            "alert 1 (firing band:health:low of a at 2026-03-24T00:00:00Z): rule: expected other, got band:health:low",
        ),
        ('alerts = [{}, { rule = "other" }]', 'alert 2: expected {"rule":"other"}, got none'),
    ],
)
def test_a_difference_has_the_account_the_field_and_both_values(tmp_path: Path, rest: str, difference: str) -> None:
    assert run(tmp_path, rest).differences == [difference]


def test_numbers_may_differ_by_the_tolerance(tmp_path: Path) -> None:
    check = 'checks = [{ ago = "9d", expect.a.scores.health.value = 60.4 }]\nchanges.a = [{ to = 60.4 }, {}]'
    assert len(run(tmp_path, check).differences) == 2
    assert run(tmp_path, f"{check}\ntolerance = 0.5").differences == []


def test_a_flag_is_no_number(tmp_path: Path) -> None:
    assert run(tmp_path, "expect.a.scores.health.value = false").differences == [
        "a: scores.health.value: expected false, got 0.0"
    ]


def test_an_event_that_a_worker_would_refuse_is_named_with_its_line(tmp_path: Path) -> None:
    case = CASE.replace('"10d", times', '"10d", count = "many", times')
    (first, *_) = run(tmp_path, "", case).differences
    assert re.match(r"the event in line 6: \w+: .*count", first)


def test_a_case_can_read_event_files(tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text(
        '{"topic":"product-usage","id":"x","account_id":"b","time":"2026-03-26T00:00:00Z"}\n', encoding="utf-8"
    )
    rest = 'files = ["more.jsonl"]\nexpect.b.scores.health.factors.events.value = 1'
    assert run(tmp_path, rest).differences == []


def test_what_no_case_reached_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, "")
    assert not_reached(plan(), [result]) == [
        "segment enterprise",
        "tier of events from 5 (60 points)",
        "tier of events from 9 (99 points)",
    ]
    one_event = CASE.replace('"10d", times = 5', '"1d", times = 9').replace(
        "events = [", 'events = [{ topic = "accounts", ago = "2d", tier = "enterprise" }, '
    )
    assert not_reached(plan(), [run(tmp_path, "", one_event)]) == [
        "tier of events from 0 (0 points)",
        "tier of events from 5 (60 points)",
        "band low of health",
        "exception of events in health",
        "rule band:health:low",
    ]


GRID = """
name = "grid"
[measures.users]
source = "product-usage"
stat = "distinct_users"
window = "30d"
weight = 1
[measures.users.normalise]
kind = "grid"
by = "events"
rows = [
  { from = 0, kind = "tiers", tiers = [{ from = 0, points = 0 }, { from = 2, points = 100 }] },
  { from = 9, kind = "decay", half_life = 3 },
]
[measures.events]
source = "product-usage"
stat = "count"
window = "30d"
[scores.health]
min_change = 0
bands = [{ name = "any", from = 0 }]
"""


def test_rows_of_a_grid_and_their_tiers_that_no_case_reached_are_named(tmp_path: Path) -> None:
    grid = compile_plan(parse_policy(GRID))
    factors = [{"measure": "users", "value": 1.0, "points": 0.0}]
    record = {"inputs": {"events": 3.0}, "scores": {"health": {"band": "any", "factors": factors}}}
    result = CaseResult(run(tmp_path, "").case, checked={0: {"a": record}})
    assert not_reached(grid, [result]) == [
        "row of users from 0 of events, tier from 2 (100 points)",
        "row of users from 9 of events",
    ]
