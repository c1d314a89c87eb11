"""Corners of alerts and of stalled sources that the oracle found, each one small enough to work out by hand."""

from __future__ import annotations

import json

import pytest

from stream.engine.engine import Engine, Mode
from stream.recovery import changelog
from tests.driving.alerts import alerts_in
from tests.driving.engine import Cut, Drive, driven, plan_of
from tests.oracle.cases import DAY, log, measure, policy, signal
from tests.oracle.engine import Record
from tests.strategies.policies import DAY_MS, HOUR_MS

NOON = DAY + 12 * HOUR_MS
BANDS = 'bands = [{ name = "good", from = 50 }, { name = "poor", from = 0 }]\n'
STALLS = '[sources.signals]\nstall_after = "2h"\n'
SCORE = f"[scores.health]\nmin_change = 1\n{BANDS}"
POLICY = policy(measure("m", 'window = "1d"', "weight = 1"), SCORE, "[alerts.r]\nwhen = { below = 40 }\n")


def usage(time_ms: int) -> tuple[str, bytes]:
    return "product-usage", json.dumps({"id": str(time_ms), "account_id": "a", "time": time_ms}).encode()


def published(drive: Drive) -> list[tuple[str, str]]:
    """Rule and status of every alert."""
    return [(alert["rule"], alert["status"]) for alert in map(json.loads, alerts_in(drive.raw))]


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.CONFLATED])
def test_what_a_source_brings_first_is_held_when_it_has_stalled_in_the_same_step(mode: Mode) -> None:
    # The border at midnight belongs to the step's day, but the clock of `signals` stays at 14:00 of the day before.
    records = log(signal("m", 80, NOON), usage(DAY + DAY_MS))
    drive = driven([Cut(records, mode, flush=False)], plan_of(POLICY + STALLS))
    assert drive.scores[-1].scores["health"].value == 80
    assert published(drive) == [("stalled:signals", "firing")]


def test_a_lane_that_has_only_profiles_is_saved_where_sources_can_stall() -> None:
    profile = Record("accounts", 0, 0, NOON, b"a", b'{"id": "p", "account_id": "a", "time": %d, "name": "Acme"}' % NOON)
    drive = Drive(Engine(plan_of(POLICY + STALLS)))
    drive.take([profile])
    drive.save()
    again = Drive(Engine(plan_of(POLICY + STALLS)))
    changelog.restore(again.engine, drive.topic)
    again.take(log(signal("m", 80, NOON)))
    assert again.scores[-1].scores["health"].value == 80
    assert set(again.engine.accounts.profiles) == {0}


def word(kind: str, time_ms: int, **fields: object) -> tuple[str, bytes]:
    document = {"id": f"{kind}-{time_ms}", "account_id": "a", "time": time_ms, "kind": kind, "rule": "r", "by": "ann"}
    return "controls", json.dumps(document | fields).encode()


def told(*arrivals: tuple[str, bytes]) -> list[tuple[str, str | None, int | None]]:
    """Status, who acknowledged and until when it is snoozed, of what is told as records come one by one."""
    drive = Drive(Engine(plan_of(POLICY)))
    for record in log(*arrivals):
        drive.take([record])
    return [(one.status, one.acknowledged_by, one.snoozed_until) for one in drive.alerts]


def test_a_word_that_changes_nothing_is_not_told() -> None:
    fires = signal("m", 20, NOON)
    assert told(fires, word("snooze", NOON + 1, until=NOON + 1)) == [("firing", None, None)]
    twice = (word("acknowledge", NOON + 1), word("acknowledge", NOON + 1, id="again"))
    assert told(fires, *twice) == [("firing", None, None), ("firing", "ann", None)]
    later = word("snooze", NOON + 2, until=NOON + HOUR_MS)
    earlier = word("snooze", NOON + 1, until=NOON + 2 * HOUR_MS)
    assert told(fires, later, earlier) == [("firing", None, None), ("firing", None, NOON + HOUR_MS)]


def test_a_snoozed_alert_can_be_acknowledged() -> None:
    snooze = word("snooze", NOON + 1, until=NOON + HOUR_MS)
    assert told(signal("m", 20, NOON), snooze, word("acknowledge", NOON + 2)) == [
        ("firing", None, None),
        ("firing", None, NOON + HOUR_MS),
        ("firing", "ann", NOON + HOUR_MS),
    ]


@pytest.mark.parametrize("sources", ["", STALLS.replace("signals", "surveys")])
def test_a_stall_that_was_told_ends_with_a_policy_that_knows_no_stall_of_its_source(sources: str) -> None:
    drive = driven(
        [Cut(log(signal("m", 80, NOON), usage(DAY + DAY_MS)), Mode.HEAD, flush=False)], plan_of(POLICY + STALLS)
    )
    drive.save()
    again = Drive(Engine(plan_of(POLICY + sources)))
    changelog.restore(again.engine, drive.topic)
    again.flush()
    assert published(again)[-1] == ("stalled:signals", "resolved")
