"""Corner cases of alerts and idle sources that the oracle found, each small enough to work out by hand."""

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
IDLE = '[sources.signals]\nstall_after = "2h"\n'
SCORE = f"[scores.health]\nmin_change = 1\n{BANDS}"
POLICY = policy(measure("m", 'window = "1d"', "weight = 1"), SCORE, "[alerts.r]\nwhen = { below = 40 }\n")


def usage(time_ms: int) -> tuple[str, bytes]:
    return "product-usage", json.dumps({"id": str(time_ms), "account_id": "a", "time": time_ms}).encode()


def published(drive: Drive) -> list[tuple[str, str]]:
    """Rule and status of every alert."""
    return [(alert["rule"], alert["status"]) for alert in map(json.loads, alerts_in(drive.raw))]


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.CONFLATED])
def test_first_event_of_a_source_counts_when_the_source_goes_idle_in_the_same_step(mode: Mode) -> None:
    # The boundary at midnight belongs to the step's day, but the clock of `signals` stays at 14:00 of the day before.
    records = log(signal("m", 80, NOON), usage(DAY + DAY_MS))
    drive = driven([Cut(records, mode, flush=False)], plan_of(POLICY + IDLE))
    # It is the value of the day before, of which nothing is left in a window of one day: the score has no data.
    assert [factor.value for factor in drive.scores[-1].scores["health"].factors] == [80]
    assert drive.scores[-1].scores["health"].value is None
    assert published(drive) == [("stalled:signals", "firing")]


def test_partition_with_only_profiles_is_restored_where_sources_can_go_idle() -> None:
    profile = Record("accounts", 0, 0, NOON, b"a", b'{"id": "p", "account_id": "a", "time": %d, "name": "Acme"}' % NOON)
    drive = Drive(Engine(plan_of(POLICY + IDLE)))
    drive.take([profile])
    drive.save()
    again = Drive(Engine(plan_of(POLICY + IDLE)))
    changelog.restore(again.engine, drive.topic)
    again.take(log(signal("m", 80, NOON)))
    assert again.scores[-1].scores["health"].value == 80
    assert set(again.engine.accounts.profiles) == {0}


def control(kind: str, time_ms: int, **fields: object) -> tuple[str, bytes]:
    document = {"id": f"{kind}-{time_ms}", "account_id": "a", "time": time_ms, "kind": kind, "rule": "r", "by": "ann"}
    return "controls", json.dumps(document | fields).encode()


def alerts_of(*arrivals: tuple[str, bytes]) -> list[tuple[str, str | None, int | None]]:
    """Status, acknowledged by and snoozed until, of every alert published while records come one by one."""
    drive = Drive(Engine(plan_of(POLICY)))
    for record in log(*arrivals):
        drive.take([record])
    return [(alert.status, alert.acknowledged_by, alert.snoozed_until) for alert in drive.alerts]


def test_control_that_changes_nothing_publishes_nothing() -> None:
    fires = signal("m", 20, NOON)
    assert alerts_of(fires, control("snooze", NOON + 1, until=NOON + 1)) == [("firing", None, None)]
    twice = (control("acknowledge", NOON + 1), control("acknowledge", NOON + 1, id="again"))
    assert alerts_of(fires, *twice) == [("firing", None, None), ("firing", "ann", None)]
    later = control("snooze", NOON + 2, until=NOON + HOUR_MS)
    earlier = control("snooze", NOON + 1, until=NOON + 2 * HOUR_MS)
    assert alerts_of(fires, later, earlier) == [("firing", None, None), ("firing", None, NOON + HOUR_MS)]


def test_snoozed_alert_can_be_acknowledged() -> None:
    snooze = control("snooze", NOON + 1, until=NOON + HOUR_MS)
    assert alerts_of(signal("m", 20, NOON), snooze, control("acknowledge", NOON + 2)) == [
        ("firing", None, None),
        ("firing", None, NOON + HOUR_MS),
        ("firing", "ann", NOON + HOUR_MS),
    ]


@pytest.mark.parametrize("sources", ["", IDLE.replace("signals", "surveys")])
def test_idle_source_alert_is_resolved_when_a_new_policy_has_no_stall_after_for_the_source(sources: str) -> None:
    drive = driven(
        [Cut(log(signal("m", 80, NOON), usage(DAY + DAY_MS)), Mode.HEAD, flush=False)], plan_of(POLICY + IDLE)
    )
    drive.save()
    again = Drive(Engine(plan_of(POLICY + sources)))
    changelog.restore(again.engine, drive.topic)
    again.flush()
    assert published(again)[-1] == ("stalled:signals", "resolved")
