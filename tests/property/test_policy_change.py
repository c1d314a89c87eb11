"""State saved under one policy and read under another: found by name, and every change still adds up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.columns.panes import date_text
from stream.engine.engine import Engine, Mode
from stream.publishing.encoding import REMAINDER
from stream.recovery import changelog
from tests.driving.engine import (
    Cut,
    Drive,
    assert_same,
    cuts,
    driven,
    open_episodes,
    partitions,
    plan_of,
    plausible_logs,
    scores_of,
)
from tests.driving.scores import assert_explained
from tests.oracle.engine import Record, final_scores
from tests.strategies.policies import DAY_MS, HOUR_MS, NOW_MS, policies

DAYS = ("1d", "2d", "7d", "30d")
LINE = 'normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }'
COUNT = f'source = "product-usage"\nstat = "count"\n{LINE}'
USERS = f'source = "product-usage"\nstat = "distinct_users"\n{LINE}'
SPENT = f'source = "product-usage"\nstat = "sum"\nfield = "duration_s"\n{LINE}'
BANDS = '[{ name = "good", from = 50 }, { name = "poor", from = 0, alert = "critical" }]'


def policy(*measures: tuple[str, str, str, float], bands: str = BANDS, min_change: float = 1) -> str:
    tables = [
        f'[measures.{name}]\n{what}\nwindow = "{window}"\nweight = {weight}\n'
        for name, what, window, weight in measures
    ]
    return 'name = "p"\n' + "".join(tables) + f"[scores.health]\nmin_change = {min_change}\nbands = {bands}\n"


def usage(*ages: float, first: int = 0) -> list[Record]:
    """An event so many days old each, of a user and a fraction of a second of its own."""
    records = []
    for offset, age in enumerate(ages, first):
        event = {
            "id": str(offset),
            "account_id": "a",
            "time": NOW_MS - round(age * DAY_MS),
            "user_id": f"u{offset}",
            "duration_s": offset + 0.25,
        }
        records.append(Record("product-usage", 0, offset, NOW_MS, b"a", json.dumps(event).encode()))
    return records


def restarted(drive: Drive, policy_text: str) -> Drive:
    drive.save()
    engine = Engine(plan_of(policy_text))
    changelog.restore(engine, drive.topic)
    return Drive(engine, topic=drive.topic)


def drive_of(policy_text: str, records: list[Record]) -> Drive:
    drive = Drive(Engine(plan_of(policy_text)))
    drive.take(records)
    return drive


AGES = (9, 5.5, 3, 2, 1, 0.5, 0)


def day(number: int) -> str:
    """The date so many days after today."""
    return date_text((NOW_MS // DAY_MS + number) * DAY_MS)


def hour(number: int) -> str:
    """The hour so many hours after this one."""
    return date_text((NOW_MS // HOUR_MS + number) * HOUR_MS)


@pytest.mark.parametrize("what", [COUNT, USERS, SPENT])
@pytest.mark.parametrize(("before", "after"), [("10d", "3d"), ("10d", "30d"), ("10d", "10d"), ("30d", "1d")])
def test_a_window_that_grows_or_shrinks_keeps_what_is_in_it(what: str, before: str, after: str) -> None:
    log = usage(*AGES)
    old, new = policy(("m", what, before, 1)), policy(("m", what, after, 1))
    drive = restarted(drive_of(old, log), new)
    assert_same(scores_of(drive.engine), final_scores(log, new, NOW_MS))
    more = usage(0, first=len(log))
    drive.take(more)
    assert_same(scores_of(drive.engine), final_scores(log + more, new, NOW_MS))


def test_a_measure_that_is_new_starts_empty_and_the_others_go_on() -> None:
    log = usage(*AGES)
    old = policy(("m", COUNT, "10d", 1))
    new = policy(("first", SPENT, "10d", 1), ("m", COUNT, "10d", 1), ("n", USERS, "10d", 2))
    drive = restarted(drive_of(old, log), new)
    assert [factor[1] for factor in scores_of(drive.engine)["a"].factors] == [0, len(AGES), 0]


@pytest.mark.parametrize(
    ("new", "incomplete"),
    [
        ((("m", COUNT, "10d", 1), ("u", USERS, "10d", 1)), {}),
        ((("m", COUNT, "3d", 2), ("renamed", USERS, "10d", 1)), {}),
        (
            (("m", COUNT, "30d", 1),),
            {"m": f"has all events since {day(-9)}: the 30 days that it looks back are full at {day(20)}"},
        ),
        (
            (("s", SPENT, "5d", 1),),
            {"s": f"has all events since {day(1)}: the 5 days that it looks back are full at {day(10)}"},
        ),
        (
            (("h", COUNT, "24h", 1),),
            {"h": f"has all events since {hour(1)}: the 24 hours that it looks back are full at {hour(24)}"},
        ),
    ],
)
def test_a_restore_returns_measures_without_full_history(new: tuple[Any, ...], incomplete: dict[str, str]) -> None:
    drive = drive_of(policy(("m", COUNT, "10d", 1), ("u", USERS, "10d", 1)), usage(*AGES))
    drive.save()
    text = policy(*new)
    assert changelog.restore(Engine(plan_of(text)), drive.topic) == incomplete
    # Rows have the new policy after the next save, and the restore still returns what is not full.
    again = restarted(drive, text)
    again.save()
    engine = Engine(plan_of(text))
    assert changelog.restore(engine, again.topic) == incomplete
    engine.tick(NOW_MS + 31 * DAY_MS)
    assert not engine.history.incomplete


def test_a_removed_measure_is_a_separate_factor_of_the_change_also_after_a_second_restart() -> None:
    log = usage(*AGES)
    one_band = '[{ name = "all", from = 0 }]'
    old = policy(("m", COUNT, "10d", 1), ("n", USERS, "10d", 2), bands=one_band, min_change=30)
    new = policy(("m", COUNT, "10d", 1), bands=one_band, min_change=30)
    first = drive_of(old, log)
    # The score stays as it is, so nothing is published, and the worker starts again before the next event.
    drive = restarted(restarted(first, new), new)
    assert not drive.changes
    drive.take(usage(0, 0, 0, first=len(log)))
    (change,) = drive.changes
    assert change.from_ == pytest.approx(70)
    assert change.to == 100
    assert change.factors[-1].measure == REMAINDER
    assert sum(factor.delta for factor in change.factors) == pytest.approx(change.to - change.from_, abs=1e-9)


def test_bands_are_matched_by_name() -> None:
    log = usage(0)
    old = policy(("m", COUNT, "10d", 1))
    new = policy(
        ("m", COUNT, "10d", 1),
        bands='[{ name = "best", from = 90 }, { name = "good", from = 50 }, { name = "fair", from = 20 }, '
        '{ name = "poor", from = 0, alert = "critical" }]',
    )
    first = drive_of(old, log)
    assert [alert.status for alert in first.alerts] == ["firing"]
    drive = restarted(first, new)
    assert open_episodes(drive.engine) == {("a", "band:health:poor")}
    drive.take(usage(0, 0, first=1))
    assert [(alert.rule, alert.status, alert.band) for alert in drive.alerts] == [
        ("band:health:poor", "resolved", "fair")
    ]
    assert drive.alerts[0].starts_at == first.alerts[0].starts_at


def test_alerts_wait_while_catching_up_and_fire_only_if_their_condition_still_holds() -> None:
    policy_text = policy(("m", COUNT, "10d", 1))
    drive = Drive(Engine(plan_of(policy_text)), mode=Mode.CONFLATED)
    for record in usage(0, 0, 0, 0, 0, 0):
        drive.take([record])
        drive.flush()
        assert not drive.alerts
    assert all(change.catching_up for change in drive.changes)
    drive.turn_to(Mode.HEAD)
    assert not drive.alerts  # it was poor, but is good now
    poor = Drive(Engine(plan_of(policy_text)), mode=Mode.CONFLATED)
    poor.take(usage(0))
    poor.flush()
    poor.turn_to(Mode.HEAD)
    assert [(alert.rule, alert.status) for alert in poor.alerts] == [("band:health:poor", "firing")]
    again = restarted(poor, policy_text)
    again.flush()
    assert not again.alerts
    assert open_episodes(again.engine) == {("a", "band:health:poor")}


@given(st.data(), plausible_logs(partitions=1, backdated=False), policies(windows=DAYS), policies(windows=DAYS))
def test_any_policy_after_any_other(data: st.DataObject, log: list[Record], old: str, new: str) -> None:
    (records,) = partitions(log).values()
    half = data.draw(st.integers(0, len(records)))
    first = driven(data.draw(cuts(records[:half])), plan_of(old))
    drive = restarted(first, new)
    for step in data.draw(cuts(records[half:], (Mode.HEAD, Mode.EXACT))):
        drive.turn_to(step.mode)
        drive.take(step.records)
    drive.turn_to(Mode.HEAD)
    drive.flush()
    last_published = {change.account_id: change.to for change in first.changes}
    for change in drive.changes:
        assert change.from_ == last_published.get(change.account_id, 0)
        assert sum(factor.delta for factor in change.factors) == pytest.approx(change.to - change.from_, abs=1e-9)
        last_published[change.account_id] = change.to
    # Restored once more, nothing has moved.
    before = scores_of(drive.engine)
    assert_same(scores_of(restarted(drive, new).engine), before)


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True), (True, True)])
def test_panes_of_an_idle_source_are_read_at_their_days_by_any_policy(before: bool, after: bool) -> None:
    """The source is idle for nine days when the policy changes: its clock, and with it the ring, stands still."""
    stalled = '[sources.product-usage]\nstall_after = "1d"\n'
    plain = policy(("m", COUNT, "10d", 1))
    old, new = plain + stalled * before, plain + stalled * after
    other = {"id": "s", "account_id": "a", "time": NOW_MS, "kind": "nps", "score": 5}
    log = [*usage(18, 17, 12, 10, 9), Record("surveys", 0, 0, NOW_MS, b"a", json.dumps(other).encode())]
    drive = restarted(drive_of(old, log), new)
    wanted = final_scores(log, new, NOW_MS)
    (value,) = [factor[1] for factor in scores_of(drive.engine)["a"].factors]
    assert value == wanted["a"].factors[0][1] or drive.engine.history.incomplete
    assert value is not None
    assert value <= len(log) - 1
    if before == after or not after:
        assert_same(scores_of(drive.engine), wanted)


def test_a_score_that_loses_its_value_under_a_new_policy_adds_up() -> None:
    # The only measure of the second policy is not for the account.
    first = driven([Cut(usage(1, 2), Mode.HEAD, flush=True)], plan_of(policy(("users", USERS, "7d", 1))))
    published = assert_explained(first.changes)
    second = policy(("uses", COUNT + '\nwhen = { account.country = ["DE"] }', "7d", 1))
    drive = restarted(first, second)
    drive.changes = []
    drive.take(usage(0.5, first=2))
    drive.flush()
    (change,) = drive.changes
    assert (change.cause, change.from_, change.to) == ("status", 20, 20)
    assert [(factor.measure, factor.before, factor.after) for factor in change.factors if factor.before] == [
        (REMAINDER, 20, 20)
    ]
    assert_explained(drive.changes, published)
