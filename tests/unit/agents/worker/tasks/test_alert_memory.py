"""The state of alerts and forecasts: over restarts, under other policies, between the boundaries that change it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agents.settings.settings import Settings
from agents.worker.commit.outbox import Outbox
from agents.worker.monitoring.metrics import Telemetry
from agents.worker.tasks import processor as processors
from agents.worker.tasks.clock import BrokerClock
from agents.worker.tasks.processor import Processor
from schemas.sources import BUILT_IN
from stream.engine.engine import Mode
from stream.recovery.reconciler import Reconciler
from tests.driving.alert_histories import DAY, POLICY, START, Scenario, daily, rule
from tests.driving.engine import plan_of
from tests.driving.worker import OneProducer

if TYPE_CHECKING:
    from stream.plan.plan import Plan

MINUTE = 1 / 1440
HOURLY = rule('when = { drop = 90, within = "3h" }', "hourly")
"""Makes every hour a window boundary."""
FORECASTING = POLICY.replace("min_change = 1", 'min_change = 1\noutlook = "30d"')
LOW = "when = { below = 40 }\n"


def plan(rules: str, *, window: str = "2d", text: str = POLICY) -> Plan:
    return plan_of(text.format(rules=rules, window=window))


def latest(scenario: Scenario) -> dict[str, Any]:
    score: dict[str, Any] = json.loads(scenario.drive.engine.current().scores[-1].value)
    return score


def forecast_until(scenario: Scenario) -> float:
    """The day up to which the forecast of the score reaches."""
    return (int(latest(scenario)["scores"]["health"]["outlook"]["until"]) - START) / DAY


def test_a_cooldown_begins_when_the_end_was_published_though_no_boundary_saw_it() -> None:
    scenario = Scenario(rule('when = { measure = "tickets", points_below = 50 }\ncooldown = "7d"'))
    scenario.use(0.1, 1)
    for day in range(4):
        scenario.drive.take([scenario.record(day + 0.5, "support-tickets") for _ in range(10)])
    scenario.pass_to(5)
    # Ten tickets are 0 points until the midnight that follows: no midnight ever sees them.
    assert scenario.published == [("firing", "r", 0.5), ("resolved", "r", 1.0)]


@pytest.mark.parametrize(("before", "after"), [("", HOURLY), (HOURLY, "")])
def test_a_wait_that_has_begun_goes_on_under_a_policy_with_other_boundaries(before: str, after: str) -> None:
    waiting = rule(LOW + 'for = "5d"')
    scenario = Scenario(waiting + before, window="2d")
    daily(scenario, 0, 6, 0, 3)
    scenario.pass_to(4)
    # 60 at midnights 2 (day 1 and 0), then 0 at 3: it holds from there on, and 30 at 4; five days later it fires.
    scenario.restart(plan(waiting + after))
    for day in range(5, 10):
        scenario.pass_to(day)
    assert scenario.published == [("firing", "r", 8.0)]


@pytest.mark.parametrize(("before", "after", "ended"), [("", HOURLY, 2.0), (HOURLY, "", 1.5)])
def test_a_cooldown_lasts_as_long_under_a_policy_with_other_boundaries(before: str, after: str, ended: float) -> None:
    cooling = rule(LOW + 'cooldown = "4d"')
    scenario = Scenario(cooling + before, window="2d")
    daily(scenario, 3, 6)
    scenario.pass_to(2)
    assert scenario.published == [("firing", "r", 0.5), ("resolved", "r", ended)]
    scenario.restart(plan(cooling + after))
    for hour in range(2 * 24, 8 * 24):
        scenario.pass_to(hour / 24)
    # 90 - 30 - 60: nothing is left at midnight 3. Four days after the end is day 6, or the last midnight before it.
    assert scenario.published[2:] == [("firing", "r", 6.0)]


def test_a_rule_with_another_condition_starts_from_nothing() -> None:
    scenario = Scenario(rule('when = { left = "good" }'), window="2d")
    daily(scenario, 8, 8)
    scenario.pass_to(2.2)
    scenario.restart(plan(rule('when = { left = "poor" }')))
    scenario.drive.flush()
    scenario.pass_to(3)
    scenario.pass_to(4)
    assert scenario.published == [], "what was good has left good; it has never been poor when poor was looked at"
    scenario.use(4.5, 5)
    assert scenario.published == [("firing", "r", 4.5)], "it was poor at midnight 4"


def test_a_rule_with_another_owner_or_limit_keeps_its_state() -> None:
    scenario = Scenario(rule('when = { left = "good" }'), window="2d")
    daily(scenario, 8, 8)
    scenario.pass_to(2.2)
    scenario.restart(plan(rule('when = { left = "good" }\nowner = "{owner}"\nmax_per_day = 1')))
    scenario.pass_to(3)
    assert scenario.published == [("firing", "r", 3.0)]


def test_a_forecast_is_none_before_the_first_midnight() -> None:
    scenario = Scenario(HOURLY, policy=FORECASTING, window="7d")
    scenario.use(0.4, 8)
    scenario.pass_to(0.5)
    assert latest(scenario)["scores"]["health"]["outlook"] is None, "hours have passed, but no midnight"
    scenario.pass_to(1.1)
    assert forecast_until(scenario) == 31
    scenario.restart(plan("", window="7d", text=FORECASTING.replace("30d", "20d")))
    assert latest(scenario)["scores"]["health"]["outlook"] is None, "this policy has made no forecast yet"
    scenario.pass_to(2)
    assert forecast_until(scenario) == 22


def test_a_forecast_survives_a_restart_on_days_without_a_change() -> None:
    scenario = Scenario("", policy=FORECASTING, window="90d")
    scenario.use(0.4, 8)
    for day in range(1, 21):
        scenario.pass_to(day)
        scenario.drive.save()
    assert forecast_until(scenario) == 50
    scenario.restart()
    assert forecast_until(scenario) == 50


def test_rules_and_scores_with_forecasts_of_other_lengths_agree() -> None:
    rules = rule('when = { forecast = "fair", within = "3d" }', "near") + rule(
        'when = { forecast = "fair", within = "40d" }', "far"
    )
    scenario = Scenario(rules, policy=FORECASTING.replace("30d", "5d"), window="35d")
    scenario.use(0.5, 8)
    for day in range(1, 36):
        scenario.pass_to(day)
    # The 8 uses of day 0 leave at midnight 35. The score forecasts 5 days, one rule fewer and one more.
    assert scenario.published == [
        ("firing", "far", 1.0),
        ("firing", "near", 32.0),
        ("resolved", "far", 35.0),
        ("resolved", "near", 35.0),
    ]


def test_revisions_do_not_decrease_under_a_policy_without_peers() -> None:
    with_peers = POLICY.replace('window = "{window}"', 'compare = "peers"\nwindow = "{window}"', 1)
    scenario = Scenario("", policy=with_peers)
    scenario.use(0.5, 1)
    scenario.pass_to(30)
    before = latest(scenario)["revision"]
    scenario.restart(plan("", window="1d"))
    assert latest(scenario)["revision"] >= before
    scenario.restart(plan("", window="1d"))
    assert latest(scenario)["revision"] >= before, "nor with the commit after it"


def test_only_a_snooze_that_was_not_published_is_published_after_a_restart() -> None:
    scenario = Scenario(rule(LOW), window="2d")
    daily(scenario, 6, 0, 0)
    scenario.pass_to(3)
    scenario.take(3.2, "controls", kind="snooze", rule="r", until=START + 10 * DAY, by="ann")
    scenario.drive.turn_to(Mode.CONFLATED)
    scenario.take(3.3, "controls", kind="snooze", rule="r", until=START + 20 * DAY, by="bob")
    scenario.restart()
    scenario.drive.turn_to(Mode.HEAD)
    scenario.pass_to(4)
    scenario.restart()
    scenario.pass_to(5)
    snoozed = [alert.snoozed_until and (alert.snoozed_until - START) / DAY for alert in scenario.drive.alerts]
    assert snoozed == [None, 10, 20]


@pytest.mark.parametrize("step", [1, 59])
def test_an_idle_source_is_published_also_where_days_alone_change_no_score(step: int) -> None:
    sources = '[sources.product-usage]\nstall_after = "30d"\n[measures.usage]'
    scenario = Scenario("", policy=POLICY.replace("[measures.usage]", sources))
    scenario.use(0.5, 1)
    for day in range(step, 60, step):
        scenario.pass_to(day)
    assert scenario.published == [("firing", "stalled:product-usage", 30.5)]


def test_a_worker_saves_a_boundary_at_which_only_an_alert_was_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "IDLE_S", -1.0)
    scenario = Scenario(rule('when = { silent = "product-usage", within = "10d" }'))
    scenario.use(0.5, 1)
    scenario.pass_to(5)
    scenario.drive.save()
    settings, clock, telemetry = Settings(partitions=1), BrokerClock(), Telemetry(BUILT_IN)
    processor = Processor(scenario.plan, settings, silent_outbox(telemetry, clock), telemetry, clock)
    processor.restore(0, processor.opener(0)(dict(scenario.drive.topic)))
    task = processor.tasks[0]
    task.run(Reconciler())
    processor.highwater = lambda _tp: 0
    task.mode = Mode.HEAD
    for day in (9, 10):
        clock.learn(START + day * DAY)
        task.changed = False
        asyncio.run(processor.tick())
    assert task.engine.as_of == START + 10 * DAY
    assert task.changed


def test_a_storm_is_detected_after_a_restart_with_the_alerts_before_it() -> None:
    scenario = Scenario(rule(LOW) + "[storms]\nshare = 0.5\nleast = 4\n")
    for number in range(3):
        scenario.use(0.5 + number * MINUTE, 1, account=f"a{number}")
    scenario.restart()
    scenario.use(0.5 + 9 * MINUTE, 1, account="a3")
    assert [status for status, name, _ in scenario.published if name == "storm"] == ["firing"]


def test_alerts_that_ended_or_are_long_ago_make_no_storm() -> None:
    scenario = Scenario(rule(LOW) + "[storms]\nshare = 0.5\nleast = 4\n")
    for number, minute in enumerate((0, 5, 6, 10)):
        scenario.use(0.5 + minute * MINUTE, 1, account=f"a{number}")
    assert [name for _, name, _ in scenario.published] == ["r"] * 4, "the first is ten minutes old"
    scenario.use(0.5 + 11 * MINUTE, 3, account="a1")
    scenario.use(0.5 + 12 * MINUTE, 1, account="a4")
    assert {name for _, name, _ in scenario.published} == {"r"}, "of the last four one is over"


def silent_outbox(telemetry: Telemetry, clock: BrokerClock) -> Outbox:
    """An outbox that sends nothing."""
    producers = OneProducer(None)
    return Outbox(
        producers, telemetry, now_ms=clock.now_ms, on_append_ms=print, may_write=lambda: False, on_fatal=print
    )
