"""Alert rules by worked examples: one account, a few events, and the day of every firing and resolving."""

from __future__ import annotations

import pytest

from schemas.outputs import Alert
from stream.engine.engine import Mode
from tests.driving.alert_histories import DAY, POLICY, START, Scenario, daily, rule
from tests.driving.engine import plan_of


def test_below_fires_and_resolves_between_boundaries() -> None:
    scenario = Scenario(rule("when = { below = 40 }"), window="2d")
    daily(scenario, 4, 0, 3)
    scenario.pass_to(3)
    scenario.use(3.25, 1)
    # 40 on day 0; at midnight of day 2 nothing is left; 30 on day 2 and still at midnight of day 3; 40 on day 3.
    assert scenario.published == [("firing", "r", 2.0), ("resolved", "r", 3.25)]
    assert [alert.score for alert in scenario.drive.alerts] == [0.0, 40.0]


def test_clear_keeps_an_alert_open_until_its_level_is_reached_at_a_boundary() -> None:
    scenario = Scenario(rule("when = { below = 40 }\nclear = 60"), window="2d")
    daily(scenario, 3, 2, 3, 3)
    scenario.pass_to(4)
    # 30 on day 0; at midnight 1 30, so it stays open; 50 on day 1; 20 at midnight 2; 50 on day 2, 30 at midnight 3; 60
    # on day 3, but a rule with `clear` is resolved at boundaries only, and at midnight 4 it is 30 again.
    assert scenario.published == [("firing", "r", 0.5)]
    scenario = Scenario(rule("when = { below = 40 }\nclear = 60"), window="2d")
    daily(scenario, 3, 5, 6)
    scenario.pass_to(3)
    assert scenario.published == [("firing", "r", 0.5), ("resolved", "r", 3.0)], (
        "50 at midnight 2 is not clear, 60 at 3 is"
    )


def test_for_fires_when_the_condition_held_at_every_boundary_of_its_time() -> None:
    scenario = Scenario(rule('when = { below = 40 }\nfor = "2d"'), window="2d")
    daily(scenario, 3, 3, 4, 3, 3, 3)
    scenario.pass_to(6)
    # Midnights: 1 and 2 have 30, 3 has 40, 4, 5 and 6 have 30 again: it has held for two days at 6.
    assert scenario.published == [("firing", "r", 6.0)]


def test_cooldown_delays_the_next_firing() -> None:
    scenario = Scenario(rule('when = { below = 40 }\ncooldown = "3d"'), window="2d")
    daily(scenario, 3, 5, 3, 3, 3, 3)
    scenario.pass_to(5.25)
    # It is resolved at midnight 2 (50). For 3 days from then it may not fire: on day 3 (60 by day, 30 at midnights 3
    # and 4) it does not, at midnight 5 it does.
    assert scenario.published == [("firing", "r", 0.5), ("resolved", "r", 2.0), ("firing", "r", 5.0)]


def test_max_per_day_limits_firings() -> None:
    """Hourly boundaries: with a window of an hour the score is the number of uses in this hour."""
    scenario = Scenario(rule("when = { below = 40 }\nmax_per_day = 2"), window="2h")
    for hour, count in enumerate((3, 5, 3, 5, 3, 5)):
        scenario.drive.take([scenario.record((hour + 0.5) / 24) for _ in range(count)])
    scenario.pass_to(6 / 24)
    hours = [(status, round(day * 24, 3)) for status, _, day in scenario.published]
    # At the boundaries of hours: 30 at 1, 50 at 2, 30 at 3, 50 at 4, 30 at 5: the third firing is over the limit.
    assert hours == [("firing", 0.5), ("resolved", 2.0), ("firing", 3.0), ("resolved", 4.0)]


def test_band_fires_in_its_band_only() -> None:
    scenario = Scenario(rule('when = { band = "poor" }'), window="2d")
    daily(scenario, 3, 0, 2)
    scenario.pass_to(3)
    assert scenario.published == [("firing", "r", 2.0)], "30 is fair; nothing at midnight 2; 20 on day 2 is poor, too"


def test_left_fires_when_the_band_is_left_and_resolves_on_return() -> None:
    scenario = Scenario(rule('when = { left = "good" }'), window="2d")
    daily(scenario, 3, 6, 2, 6)
    scenario.pass_to(4)
    # 30 was never good; 90 on day 1 and 60 at midnight 2; 20 at midnight 3: left; 60 at midnight 4: again.
    assert scenario.published == [("firing", "r", 3.0), ("resolved", "r", 4.0)]


def test_left_fires_at_once_between_boundaries() -> None:
    scenario = Scenario(rule('when = { left = "fair" }'), window="2d")
    daily(scenario, 4)
    scenario.pass_to(1)
    scenario.use(1.25, 3)
    assert scenario.published == [("firing", "r", 1.25)], "70 is good, and 40 at midnight was fair"


@pytest.mark.parametrize(("window", "fires"), [("3d", 4.0), ("1d", None)])
def test_drop_compares_with_the_boundaries_in_its_window(window: str, fires: float | None) -> None:
    scenario = Scenario(rule(f'when = {{ drop = 30, within = "{window}" }}'), window="2d")
    daily(scenario, 7, 6, 5, 4)
    scenario.pass_to(4)
    # Midnights: 70, 60, 50, 40. On the fourth, 70 is three boundaries back.
    expected = [] if fires is None else [("firing", "r", fires)]
    assert scenario.published == expected


def test_drop_fires_between_boundaries_with_the_points_in_its_summary() -> None:
    """Tickets lower the score between boundaries: no other event takes points."""
    scenario = Scenario(rule('when = { drop = 30, within = "3d" }') + MADE_OF_TICKETS, window="2d")
    scenario.take(0.5, "support-tickets", id="t0")
    scenario.pass_to(1)
    scenario.drive.take([scenario.record(1.5, "support-tickets") for _ in range(5)])
    assert scenario.published == [("firing", "r", 1.5)]
    assert scenario.drive.alerts[0].summary == "acme fell 50.0 points within 3 days: health 50.0 (tickets -50.0)"


MADE_OF_TICKETS = "[scores.health.weights]\ntickets = 1\nusage = 0\n"


def test_measure_fires_below_its_points() -> None:
    scenario = Scenario(rule('when = { measure = "tickets", points_below = 80 }'), window="2d")
    for _ in range(3):
        scenario.take(0.5, "support-tickets")
    assert scenario.published == [("firing", "r", 0.5)], "3 tickets are 70 points"
    assert scenario.drive.alerts[0].summary.startswith("acme has tickets at 70 points, below 80: health ")
    scenario.pass_to(1)
    assert scenario.published[1:] == [("resolved", "r", 1.0)]


def test_forecast_fires_before_the_band_is_entered() -> None:
    scenario = Scenario(rule('when = { forecast = "fair", within = "3d" }'), window="5d")
    daily(scenario, 4, 2, 2)
    scenario.pass_to(4)
    # At midnight 3 it is 80 and good. Without events the 4 of day 0 leave at midnight 5, and 40 is fair: at midnight 2
    # the forecast is 60, 60 and at 5 only 20, within 3 days; at midnight 4, 5 is a day away.
    assert scenario.published == [("firing", "r", 2.0)]
    assert "turns fair on" in scenario.drive.alerts[0].summary
    scenario.pass_to(5)
    assert scenario.published[1:] == [("resolved", "r", 5.0)], (
        "in the band the forecast is over: from here a rule on the band fires"
    )


def test_silent_fires_after_its_days_without_events() -> None:
    scenario = Scenario(rule('when = { silent = "product-usage", within = "3d" }'), window="2d")
    scenario.use(0.5, 4)
    scenario.pass_to(2)
    assert scenario.published == []
    scenario.pass_to(3)
    assert scenario.published == [("firing", "r", 3.0)]
    assert scenario.drive.alerts[0].summary == "acme has had no product-usage for 3 days: health 0.0 (usage -40.0)"
    scenario.use(3.5, 1)
    assert scenario.published[1:] == [("resolved", "r", 3.5)]


def test_silence_in_business_days_leaves_weekends_and_holidays_out() -> None:
    """Day 0 is a Saturday, 2024-09-14."""
    calendar = '[calendar]\nholidays = ["2024-09-23"]\n'
    scenario = Scenario(rule('when = { silent = "product-usage", within = "2bd" }') + calendar, window="2d")
    for friday in (6, 13):
        scenario.use(friday + 0.5, 4)
    scenario.pass_to(20)
    # After Friday 6: Monday 9 is a holiday, so Wednesday 11 is the second business day. After Friday 13: Tuesday 17.
    assert scenario.published == [("firing", "r", 11.0), ("resolved", "r", 13.5), ("firing", "r", 17.0)]
    assert scenario.drive.alerts[0].summary == (
        "acme has had no product-usage for 2 business days: health 0.0 (usage -40.0)"
    )
    scenario.restart()
    scenario.use(20.5, 1)
    assert scenario.published[3:] == [("resolved", "r", 20.5)]


ZONE = '[calendar]\ntimezone = "America/New_York"\n'


def test_days_of_an_alert_are_those_of_the_zone() -> None:
    """Day 0 is 2024-09-14; midnight in New York is at 04:00 UTC, and from day 50 on at 05:00."""
    scenario = Scenario(rule('when = { below = 40 }\nfor = "2d"') + ZONE, window="2d")
    scenario.use(48.5, 4)
    scenario.pass_to(53)
    # Two days from day 48 on it is 40. From the midnight of day 50 on it is 0: day 50 has 25 hours.
    assert [(status, round(day * 24, 6)) for status, _, day in scenario.published] == [("firing", 52 * 24 + 5)]


def test_a_policy_with_another_zone_begins_its_days_anew() -> None:
    scenario = Scenario("", window="2d")
    scenario.use(1.5, 4)
    scenario.pass_to(2)
    zoned = plan_of(POLICY.format(rules=ZONE, window="2d"))
    scenario.restart(zoned)
    scenario.use(2.5, 1)
    assert [name for name, _ in scenario.drive.engine.history.incomplete] == ["usage", "tickets"]
    (since_ms,) = {since_ms for _, since_ms in scenario.drive.engine.history.incomplete}
    assert (since_ms - START) / DAY == pytest.approx(2 + 4 / 24), "the day of the zone that began after the restart"
    scenario.restart(zoned)
    scenario.pass_to(4)
    # Tickets could improve by silence: they are read of accounts that have been silent for some days.
    assert [name for name, _ in scenario.drive.engine.history.incomplete] == ["tickets"]


def test_idle_source_fires_for_the_source_and_not_for_silent_accounts() -> None:
    rules = rule('when = { silent = "product-usage", within = "3d" }') + '[sources.product-usage]\nstall_after = "1d"\n'
    scenario = Scenario(rules, window="2d", partition=7)
    scenario.use(0.5, 4)
    scenario.use(0.5, 6, account="other")
    scenario.pass_to(2)
    # From day 1.5 on, no event of any account has come: the clock of the source and its measures stand still.
    assert scenario.published == [("firing", "stalled:product-usage", 1.5)]
    alert = scenario.drive.alerts[0]
    assert (alert.account_id, alert.score, alert.labels["partition"]) == ("", None, "7")
    latest = {score.account_id: score for score in scenario.drive.scores}
    assert [latest[account].scores["health"].value for account in ("acme", "other")] == [40.0, 60.0]
    assert latest["acme"].stalled_sources == ["product-usage"]
    assert latest["acme"].scores["health"].confidence == 0.0
    scenario.pass_to(9)
    latest = {score.account_id: score for score in scenario.drive.scores}
    assert [latest[account].state for account in ("acme", "other")] == ["no-data"] * 2, "its window is over since day 3"
    assert len(scenario.published) == 1
    scenario.use(9.5, 1, account="other")
    assert scenario.published[1:] == [("resolved", "stalled:product-usage", 9.5)]
    scenario.pass_to(10)
    latest = {score.account_id: score for score in scenario.drive.scores}
    assert [latest[account].scores["health"].value for account in ("acme", "other")] == [0.0, 10.0]
    assert latest["acme"].stalled_sources is None
    assert scenario.published[2:] == [("firing", "r", 10.0)], "now it is acme alone that is silent"


def test_acknowledgement_and_snooze_are_published_with_the_open_alert() -> None:
    scenario = Scenario(rule("when = { below = 40 }"), window="9d")
    scenario.drive.take([scenario.record(0.5) for _ in range(3)])
    scenario.take(0.6, "controls", kind="acknowledge", rule="r", by="ann")
    scenario.restart()
    scenario.take(0.7, "controls", kind="snooze", rule="r", until=START + 3 * DAY, by="ann")
    scenario.pass_to(2)
    scenario.restart()
    scenario.pass_to(4)
    published = [
        (a.status, a.acknowledged_by, a.snoozed_until and (a.snoozed_until - START) / DAY)
        for a in scenario.drive.alerts
    ]
    assert published == [
        ("firing", None, None),
        ("firing", "ann", None),
        ("firing", "ann", 3.0),
        ("firing", "ann", None),  # the snooze is over, the acknowledgement still applies
    ]
    assert len({alert.fingerprint for alert in scenario.drive.alerts}) == 1
    assert len({alert.id for alert in scenario.drive.alerts}) == 4
    scenario.use(4.5, 1)
    assert scenario.drive.alerts[-1].status == "resolved"
    assert not scenario.drive.engine.accounts.acknowledgements


def test_acknowledgement_without_an_open_alert_is_discarded() -> None:
    scenario = Scenario(rule("when = { below = 40 }"), window="2d")
    scenario.use(0.5, 1)
    scenario.drive.take([scenario.record(0.55) for _ in range(3)])
    assert [alert.status for alert in scenario.drive.alerts] == ["firing", "resolved"]
    scenario.take(0.6, "controls", kind="acknowledge", rule="r", by="ann")
    scenario.pass_to(3)
    assert scenario.drive.alerts[-1].status == "firing"
    assert scenario.drive.alerts[-1].acknowledged_at is None


def test_flap_is_counted() -> None:
    scenario = Scenario(rule("when = { below = 40 }"), window="2h")
    for hour, count in enumerate((3, 5, 3)):
        scenario.drive.take([scenario.record((hour + 0.5) / 24) for _ in range(count)])
    scenario.pass_to(3 / 24)
    scenario.use(3.5 / 24, 3)
    assert [(alert.status, alert.flaps) for alert in scenario.drive.alerts] == [
        ("firing", 0),
        ("resolved", 0),
        ("firing", 1),
        ("resolved", 1),
    ]


def test_storm_fires_one_digest_and_marks_its_members() -> None:
    storms = "[storms]\nshare = 0.5\nleast = 4\n"
    scenario = Scenario(rule("when = { below = 40 }") + storms, window="2d", partition=0)
    for number in range(8):
        scenario.drive.take([scenario.record(0.5 + number / 100, account=f"a{number}") for _ in range(5)])
    scenario.pass_to(2)
    # All fall to nothing at the same midnight.
    digests = [alert for alert in scenario.drive.alerts if alert.rule == "storm"]
    members = [alert for alert in scenario.drive.alerts if alert.rule == "r"]
    assert [alert.status for alert in digests] == ["firing"]
    assert digests[0].summary.startswith("8 of 8 accounts began to alert within 10 minutes")
    assert "r, usage" in digests[0].summary
    assert {alert.digest for alert in members} == {digests[0].fingerprint}
    scenario.restart()
    scenario.pass_to(3)
    assert [alert.status for alert in scenario.drive.alerts if alert.rule == "storm"] == ["firing", "resolved"]
    scenario.drive.take([scenario.record(3.5, account="a0") for _ in range(9)])
    assert scenario.drive.alerts[-1].status == "resolved"
    assert scenario.drive.alerts[-1].digest == digests[0].fingerprint, (
        "the resolved record is a member of the digest like the firing one"
    )


def test_open_alert_of_a_removed_rule_is_resolved() -> None:
    scenario = Scenario(rule("when = { below = 40 }"), window="9d")
    scenario.drive.take([scenario.record(0.5) for _ in range(3)])
    scenario.restart(plan_of(POLICY.format(rules="", window="9d")))
    scenario.drive.flush()
    last = scenario.drive.alerts[-1]
    assert (last.status, last.rule, last.fingerprint) == ("resolved", "r", scenario.drive.alerts[0].fingerprint)


def test_outlook_has_the_next_change_of_band() -> None:
    text = POLICY.replace("min_change = 1\n", 'min_change = 1\noutlook = "3d"\n')
    scenario = Scenario("", window="5d", policy=text)
    for day, count, expected in ((0, 4, None), (1, 2, (5.0, "poor", 20)), (2, 2, (5.0, "fair", 40))):
        # 40 stay so until the 4 of day 0 leave at midnight 5. As of midnight 1 that is too far; as of 2, 60 are good,
        # and 20 at 5 are poor; as of 3, 80 are good, and 40 are fair.
        scenario.drive.take([scenario.record(day + 0.5) for _ in range(count)])
        scenario.pass_to(day + 1)
        assert outlook_of(scenario) == expected
    scenario.restart()
    scenario.drive.note(scenario.drive.engine.current())
    assert outlook_of(scenario) == (5.0, "fair", 40)


def outlook_of(scenario: Scenario) -> tuple[float, str, float] | None:
    outlook = scenario.drive.scores[-1].scores["health"].outlook
    assert outlook is not None
    turn = outlook.turn
    return None if turn is None else ((turn.at - START) / DAY, turn.band, turn.score)


def test_alert_that_fired_and_resolved_while_catching_up_is_not_published() -> None:
    scenario = Scenario(rule('when = { below = 40 }\nfor = "1d"') + rule("when = { below = 20 }", "low"), window="2d")
    scenario.drive.turn_to(Mode.CONFLATED)
    daily(scenario, 3, 3, 5, 3, 3)
    scenario.drive.take([scenario.record(5.5) for _ in range(3)])
    assert scenario.published == []
    scenario.drive.turn_to(Mode.HEAD)
    # Midnights 1, 2: 30, it would have fired at 2 and been resolved at 3; 4, 5: 30 again, so it fires now.
    assert scenario.published == [("firing", "r", 5.5)]
    assert isinstance(scenario.drive.alerts[0], Alert)
