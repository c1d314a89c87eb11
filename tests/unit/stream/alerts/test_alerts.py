"""Alert rules by worked examples: one account, a few events, every firing and ending with its day."""

from __future__ import annotations

import pytest

from schemas.outputs import Alert
from stream.engine.engine import Mode
from tests.driving.alert_histories import DAY, POLICY, START, Story, daily, rule
from tests.driving.engine import plan_of


def test_below_fires_and_ends_at_once() -> None:
    story = Story(rule("when = { below = 40 }"), window="2d")
    daily(story, 4, 0, 3)
    story.pass_to(3)
    story.use(3.25, 1)
    # 40 on day 0; at midnight of day 2 nothing is left; 30 on day 2 and still at midnight of day 3; 40 on day 3.
    assert story.said == [("firing", "r", 2.0), ("resolved", "r", 3.25)]
    assert [alert.score for alert in story.drive.alerts] == [0.0, 40.0]


def test_clear_keeps_an_alert_open_until_the_score_is_well_again() -> None:
    story = Story(rule("when = { below = 40 }\nclear = 60"), window="2d")
    daily(story, 3, 2, 3, 3)
    story.pass_to(4)
    # 30 at once; at midnight 1 30, so it is held; 50 on day 1; 20 at midnight 2; 50 on day 2, 30 at midnight 3; 60 on
    # day 3, but a rule with memory ends at borders only, and at midnight 4 it is 30 again.
    assert story.said == [("firing", "r", 0.5)]
    story = Story(rule("when = { below = 40 }\nclear = 60"), window="2d")
    daily(story, 3, 5, 6)
    story.pass_to(3)
    assert story.said == [("firing", "r", 0.5), ("resolved", "r", 3.0)], "50 at midnight 2 is not clear, 60 at 3 is"


def test_for_waits_at_borders() -> None:
    story = Story(rule('when = { below = 40 }\nfor = "2d"'), window="2d")
    daily(story, 3, 3, 4, 3, 3, 3)
    story.pass_to(6)
    # Midnights: 1 and 2 have 30, 3 has 40, 4, 5 and 6 have 30 again: it has held for two days at 6.
    assert story.said == [("firing", "r", 6.0)]


def test_a_cooldown_holds_back_what_fires_again_too_soon() -> None:
    story = Story(rule('when = { below = 40 }\ncooldown = "3d"'), window="2d")
    daily(story, 3, 5, 3, 3, 3, 3)
    story.pass_to(5.25)
    # It ends at midnight 2 (50); from then on 3 days: on day 3 (60 by day, 30 at midnights 3 and 4) it may not fire, at
    # midnight 5 it may.
    assert story.said == [("firing", "r", 0.5), ("resolved", "r", 2.0), ("firing", "r", 5.0)]


def test_no_more_firings_a_day_than_allowed() -> None:
    """Hour borders: a window of an hour makes the score the uses of this hour."""
    story = Story(rule("when = { below = 40 }\nmax_per_day = 2"), window="2h")
    for hour, count in enumerate((3, 5, 3, 5, 3, 5)):
        story.drive.take([story.record((hour + 0.5) / 24) for _ in range(count)])
    story.pass_to(6 / 24)
    hours = [(status, round(day * 24, 3)) for status, _, day in story.said]
    # By the hour (borders): 30 at 1, 50 at 2, 30 at 3, 50 at 4, 30 at 5: the third time is once too often.
    assert hours == [("firing", 0.5), ("resolved", 2.0), ("firing", 3.0), ("resolved", 4.0)]


def test_a_band_is_entered_and_left() -> None:
    story = Story(rule('when = { band = "poor" }'), window="2d")
    daily(story, 3, 0, 2)
    story.pass_to(3)
    assert story.said == [("firing", "r", 2.0)], "30 is fair; nothing at midnight 2; 20 on day 2 is poor, too"


def test_left_fires_when_a_band_is_left_and_ends_on_return() -> None:
    story = Story(rule('when = { left = "good" }'), window="2d")
    daily(story, 3, 6, 2, 6)
    story.pass_to(4)
    # 30 was never good; 90 on day 1 and 60 at midnight 2; 20 at midnight 3: left; 60 at midnight 4: again.
    assert story.said == [("firing", "r", 3.0), ("resolved", "r", 4.0)]


def test_left_fires_at_once_between_borders() -> None:
    story = Story(rule('when = { left = "fair" }'), window="2d")
    daily(story, 4)
    story.pass_to(1)
    story.use(1.25, 3)
    assert story.said == [("firing", "r", 1.25)], "70 is good, and 40 at midnight was fair"


@pytest.mark.parametrize(("window", "fires"), [("3d", 4.0), ("1d", None)])
def test_a_drop_is_seen_against_the_borders_before(window: str, fires: float | None) -> None:
    story = Story(rule(f'when = {{ drop = 30, within = "{window}" }}'), window="2d")
    daily(story, 7, 6, 5, 4)
    story.pass_to(4)
    # Midnights: 70, 60, 50, 40. On the fourth, 70 is three borders back.
    expected = [] if fires is None else [("firing", "r", fires)]
    assert story.said == expected


def test_a_drop_fires_at_once_and_tells_how_far() -> None:
    """Tickets make it fall between borders: nothing else takes points by an event."""
    story = Story(rule('when = { drop = 30, within = "3d" }') + MADE_OF_TICKETS, window="2d")
    story.take(0.5, "support-tickets", id="t0")
    story.pass_to(1)
    story.drive.take([story.record(1.5, "support-tickets") for _ in range(5)])
    assert story.said == [("firing", "r", 1.5)]
    assert story.drive.alerts[0].summary == "acme fell 50.0 points within 3 days: health 50.0 (tickets -50.0)"


MADE_OF_TICKETS = "[scores.health.weights]\ntickets = 1\nusage = 0\n"


def test_a_measure_at_poor() -> None:
    story = Story(rule('when = { measure = "tickets", points_below = 80 }'), window="2d")
    for _ in range(3):
        story.take(0.5, "support-tickets")
    assert story.said == [("firing", "r", 0.5)], "3 tickets are 70 points"
    assert story.drive.alerts[0].summary.startswith("acme has tickets at 70 points, below 80: health ")
    story.pass_to(1)
    assert story.said[1:] == [("resolved", "r", 1.0)]


def test_a_forecast_fires_before_the_band_is_there() -> None:
    story = Story(rule('when = { forecast = "fair", within = "3d" }'), window="5d")
    daily(story, 4, 2, 2)
    story.pass_to(4)
    # At midnight 3 it is 80 and good. Without events the 4 of day 0 leave at midnight 5, and 40 is fair: at midnight 2
    # the way is 60, 60 and at 5 only 20, within 3 days; at midnight 4, 5 is a day away.
    assert story.said == [("firing", "r", 2.0)]
    assert "turns fair on" in story.drive.alerts[0].summary
    story.pass_to(5)
    assert story.said[1:] == [("resolved", "r", 5.0)], "it has turned: the band's own rule is the one to speak now"


def test_silence_of_an_account() -> None:
    story = Story(rule('when = { silent = "product-usage", within = "3d" }'), window="2d")
    story.use(0.5, 4)
    story.pass_to(2)
    assert story.said == []
    story.pass_to(3)
    assert story.said == [("firing", "r", 3.0)]
    assert story.drive.alerts[0].summary == "acme has had no product-usage for 3 days: health 0.0"
    story.use(3.5, 1)
    assert story.said[1:] == [("resolved", "r", 3.5)]


def test_a_stalled_source_is_no_silence() -> None:
    rules = rule('when = { silent = "product-usage", within = "3d" }') + '[sources.product-usage]\nstall_after = "1d"\n'
    story = Story(rules, window="2d", partition=7)
    story.use(0.5, 4)
    story.use(0.5, 6, account="other")
    story.pass_to(9)
    # From day 1.5 on, nothing has come of anybody: the clock of the source stands, and scores are held as of then.
    assert story.said == [("firing", "stalled:product-usage", 1.5)]
    alert = story.drive.alerts[0]
    assert (alert.account_id, alert.score, alert.labels["partition"]) == ("", None, "7")
    latest = {score.account_id: score for score in story.drive.scores}
    assert [latest[account].scores["health"].value for account in ("acme", "other")] == [40.0, 60.0]
    assert latest["acme"].stalled_sources == ["product-usage"]
    assert latest["acme"].scores["health"].confidence == 0.0
    story.use(9.5, 1, account="other")
    assert story.said[1:] == [("resolved", "stalled:product-usage", 9.5)]
    story.pass_to(10)
    latest = {score.account_id: score for score in story.drive.scores}
    assert [latest[account].scores["health"].value for account in ("acme", "other")] == [0.0, 10.0]
    assert latest["acme"].stalled_sources is None
    assert story.said[2:] == [("firing", "r", 10.0)], "now it is acme alone that is silent"


def test_acknowledged_and_snoozed_alerts() -> None:
    story = Story(rule("when = { below = 40 }"), window="9d")
    story.drive.take([story.record(0.5) for _ in range(3)])
    story.take(0.6, "controls", kind="acknowledge", rule="r", by="ann")
    story.restart()
    story.take(0.7, "controls", kind="snooze", rule="r", until=START + 3 * DAY, by="ann")
    story.pass_to(2)
    story.restart()
    story.pass_to(4)
    told = [
        (a.status, a.acknowledged_by, a.snoozed_until and (a.snoozed_until - START) / DAY) for a in story.drive.alerts
    ]
    assert told == [
        ("firing", None, None),
        ("firing", "ann", None),
        ("firing", "ann", 3.0),
        ("firing", "ann", None),  # the snooze is over, the acknowledgement stands
    ]
    assert len({alert.fingerprint for alert in story.drive.alerts}) == 1
    assert len({alert.id for alert in story.drive.alerts}) == 4
    story.use(4.5, 1)
    assert story.drive.alerts[-1].status == "resolved"
    assert not story.drive.engine.accounts.words


def test_an_acknowledgement_of_nothing_open_is_forgotten() -> None:
    story = Story(rule("when = { below = 40 }"), window="2d")
    story.use(0.5, 1)
    story.drive.take([story.record(0.55) for _ in range(3)])
    assert [alert.status for alert in story.drive.alerts] == ["firing", "resolved"]
    story.take(0.6, "controls", kind="acknowledge", rule="r", by="ann")
    story.pass_to(3)
    assert story.drive.alerts[-1].status == "firing"
    assert story.drive.alerts[-1].acknowledged_at is None


def test_a_flap_is_counted() -> None:
    story = Story(rule("when = { below = 40 }"), window="2h")
    for hour, count in enumerate((3, 5, 3)):
        story.drive.take([story.record((hour + 0.5) / 24) for _ in range(count)])
    story.pass_to(3 / 24)
    story.use(3.5 / 24, 3)
    assert [(alert.status, alert.flaps) for alert in story.drive.alerts] == [
        ("firing", 0),
        ("resolved", 0),
        ("firing", 1),
        ("resolved", 1),
    ]


def test_a_storm_is_one_digest() -> None:
    storms = "[storms]\nshare = 0.5\nleast = 4\n"
    story = Story(rule("when = { below = 40 }") + storms, window="2d", partition=0)
    for at in range(8):
        story.drive.take([story.record(0.5 + at / 100, account=f"a{at}") for _ in range(5)])
    story.pass_to(2)
    # All fall to nothing at the same midnight.
    digests = [alert for alert in story.drive.alerts if alert.rule == "storm"]
    members = [alert for alert in story.drive.alerts if alert.rule == "r"]
    assert [alert.status for alert in digests] == ["firing"]
    assert digests[0].summary.startswith("8 of 8 accounts began to alert within 10 minutes")
    assert "r, usage" in digests[0].summary
    assert {alert.digest for alert in members} == {digests[0].fingerprint}
    story.restart()
    story.pass_to(3)
    assert [alert.status for alert in story.drive.alerts if alert.rule == "storm"] == ["firing", "resolved"]
    story.drive.take([story.record(3.5, account="a0") for _ in range(9)])
    assert story.drive.alerts[-1].status == "resolved"
    assert story.drive.alerts[-1].digest == digests[0].fingerprint, "who left it out when it fired leaves it out now"


def test_alerts_of_rules_that_a_new_policy_lacks_are_resolved() -> None:
    story = Story(rule("when = { below = 40 }"), window="9d")
    story.drive.take([story.record(0.5) for _ in range(3)])
    story.restart(plan_of(POLICY.format(rules="", window="9d")))
    story.drive.flush()
    last = story.drive.alerts[-1]
    assert (last.status, last.rule, last.fingerprint) == ("resolved", "r", story.drive.alerts[0].fingerprint)


def test_an_outlook_tells_the_next_change_of_band() -> None:
    text = POLICY.replace("min_change = 1\n", 'min_change = 1\noutlook = "3d"\n')
    story = Story("", window="5d", policy=text)
    for day, count, expected in ((0, 4, None), (1, 2, (5.0, "poor", 20)), (2, 2, (5.0, "fair", 40))):
        # 40 stay so until the 4 of day 0 leave at midnight 5. As of midnight 1 that is too far; as of 2, 60 are good,
        # and 20 at 5 are poor; as of 3, 80 are good, and 40 are fair.
        story.drive.take([story.record(day + 0.5) for _ in range(count)])
        story.pass_to(day + 1)
        assert outlook_of(story) == expected
    story.restart()
    story.drive.note(story.drive.engine.current())
    assert outlook_of(story) == (5.0, "fair", 40)


def outlook_of(story: Story) -> tuple[float, str, float] | None:
    outlook = story.drive.scores[-1].scores["health"].outlook
    assert outlook is not None
    turn = outlook.turn
    return None if turn is None else ((turn.at - START) / DAY, turn.band, turn.score)


def test_catching_up_is_not_news() -> None:
    story = Story(rule('when = { below = 40 }\nfor = "1d"') + rule("when = { below = 20 }", "low"), window="2d")
    story.drive.turn_to(Mode.CONFLATED)
    daily(story, 3, 3, 5, 3, 3)
    story.drive.take([story.record(5.5) for _ in range(3)])
    assert story.said == []
    story.drive.turn_to(Mode.HEAD)
    # Midnights 1, 2: 30, it would have fired at 2 and ended at 3; 4, 5: 30 again, so that it holds now.
    assert story.said == [("firing", "r", 5.5)]
    assert isinstance(story.drive.alerts[0], Alert)
