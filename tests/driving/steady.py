"""Steady accounts: the same events every week, replayed hour by hour through a policy.

Owns how a weekly schedule becomes event files, and how long a policy takes until every window is full. Must not know
any expected score. Called by the tests that a steady account causes no changes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agents.files.replay import Watch, replay_files
from schemas.outputs import Alert, ScoreChange
from stream.plan.plan import Plan, compile_plan
from stream.policy.policy import parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_767_571_200_000  # 2026-01-05T00:00:00Z, a Monday
WATCHED_DAYS = 8
"""For so many days after the warm-up scores are read at every full hour: a week and the day after it."""


class Slot(NamedTuple):
    """An event of every week: its weekday (0 is Monday), its time of day (ms), its topic, and its fields."""

    weekday: int
    time_ms: int
    topic: str
    fields: dict[str, Any]


def weekly(weekdays: Iterable[int], hours: Iterable[int], topic: str, *variants: dict[str, Any]) -> list[Slot]:
    """One event at each full hour of each weekday; events of a day take the variants of their fields in turn."""
    return [
        Slot(weekday, hour * HOUR_MS, topic, variants[number % len(variants)])
        for weekday in weekdays
        for number, hour in enumerate(hours)
    ]


class Outcome(NamedTuple):
    """What was published after the warm-up."""

    changes: list[ScoreChange]
    alerts: list[Alert]


def warm_up_days(plan: Plan) -> int:
    """Days until every window, with what it is compared with, is full of the schedule, and no account is new."""
    days = [panes if unit == "day" else -(-panes // 24) for unit, panes in plan.longest_windows.items()]
    spans = [rule.rule.within.panes for rule in plan.rules if rule.rule.within is not None]
    new = plan.policy.new_accounts.min_age_days if plan.policy.new_accounts is not None else 0
    return max(*days, new) + max(spans, default=0) + 8


def after_warm_up(folder: Path, policy: str, schedules: Mapping[str, Sequence[Slot]]) -> Outcome:
    """Replay every account's schedule, and read scores at every hour of some days after the warm-up."""
    plan = compile_plan(parse_policy(policy, "policy.toml"))
    warm_ms = START_MS + warm_up_days(plan) * DAY_MS
    end_ms = warm_ms + WATCHED_DAYS * DAY_MS
    file = folder / "events.jsonl"
    file.write_text("\n".join(_lines(schedules, end_ms)), encoding="utf-8")
    hourly = Watch(lambda _first, last: range(warm_ms, last + 1, HOUR_MS), lambda _moment, _engine: None)
    replay = replay_files([file], plan, end_ms, hourly)
    assert not replay.bad
    changes = [msgspec.json.decode(message.value, type=ScoreChange) for message in replay.changes]
    alerts = [msgspec.json.decode(message.value, type=Alert) for message in replay.alerts]
    return Outcome(
        [change for change in changes if change.time >= warm_ms],
        [alert for alert in alerts if max(alert.starts_at, alert.ends_at or 0) >= warm_ms],
    )


def _lines(schedules: Mapping[str, Sequence[Slot]], end_ms: int) -> Iterable[str]:
    for account, slots in schedules.items():
        for day in range((end_ms - START_MS) // DAY_MS + 1):
            for number, slot in enumerate(slots):
                if slot.weekday == day % 7:
                    time_ms = START_MS + day * DAY_MS + slot.time_ms
                    event = {"id": f"{account}-{day}-{number}", "account_id": account, "time": time_ms}
                    yield json.dumps({**event, "topic": slot.topic, **slot.fields})
