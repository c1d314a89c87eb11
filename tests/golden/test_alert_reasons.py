"""What alerts say, by small worked numbers: what fell since the account was last fine, worsening, new accounts.

A score of three measures: each of up to ten uses in 30 days is worth 4 points, each ticket costs 4, and each day that
the latest invoice was late costs 2, of 40, 40 and 20 points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from schemas.outputs import ScoreMessage
from stream.consumers.notifications import OpenAlerts
from tests.driving.alert_histories import DAY, START, Scenario
from tests.driving.engine import plan_of

if TYPE_CHECKING:
    from schemas.outputs import Alert

POLICY = """
name = "reasons"
{new}
[measures.usage]
source = "product-usage"
stat = "count"
window = "60d"
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 10 }}
weight = 40
[measures.support_tickets]
source = "support-tickets"
stat = "count"
window = "60d"
normalise = {{ kind = "linear", zero_at = 10, hundred_at = 0 }}
weight = 40
[measures.payment_history]
source = "billing"
stat = "last"
field = "days_late"
window = "60d"
normalise = {{ kind = "linear", zero_at = 10, hundred_at = 0 }}
weight = 20
[scores.health]
min_change = 1
bands = [
  {{ name = "healthy", from = 70 }},
  {{ name = "attention", from = 40, alert = "warning" }},
  {{ name = "poor", from = 0, alert = "critical" }},
]
{rules}
"""
ATTENTION, POOR = "band:health:attention", "band:health:poor"


def scenario(rules: str = "", new: str = "") -> Scenario:
    """An account that begins with 100 points."""
    text = POLICY.replace("{new}", new).replace("{rules}", rules).replace("{{", "{").replace("}}", "}")
    started = Scenario("", policy=text.replace("{", "{{").replace("}", "}}"))
    bill(started, 0, 0)
    started.use(0.1, 10)
    started.drive.alerts.clear()
    return started


def bill(account: Scenario, day: float, days_late: float) -> None:
    account.take(day, "billing", kind="invoice_paid", days_late=days_late)


def tickets(account: Scenario, day: float, count: int) -> None:
    account.drive.take([account.record(day, "support-tickets") for _ in range(count)])


def fallen_slowly(account: Scenario) -> Alert:
    """From 100 on day 1 a ticket a day to 72 on day 7, then an invoice a day late, 70, and one two days late, 68."""
    for day in range(1, 8):
        tickets(account, day + 0.5, 1)
    bill(account, 8.5, 1)
    bill(account, 9.5, 2)
    (alert,) = account.drive.alerts
    assert (alert.score, alert.rule) == (68, ATTENTION)
    return alert


def shares(alert: Alert) -> dict[str, float]:
    assert alert.fall is not None
    return {factor.measure: factor.delta for factor in alert.fall.factors}


def test_the_reason_is_the_whole_fall_and_not_its_last_step() -> None:
    alert = fallen_slowly(scenario())
    assert alert.summary == "acme is attention: health 68.0 (support tickets -28.0, payment history -4.0)"
    assert alert.annotations["reason"] == "support tickets -28.0, payment history -4.0"
    assert alert.fall is not None
    assert (alert.fall.from_, alert.fall.to) == (100, 68)
    assert shares(alert) == {"support_tickets": pytest.approx(-28), "payment_history": pytest.approx(-4)}
    assert sum(shares(alert).values()) == pytest.approx(-32, abs=1e-9)


def test_a_measure_that_rose_is_among_the_others_and_the_sum_is_that_of_the_fall() -> None:
    account = scenario()
    bill(account, 1, 10)  # 80
    account.pass_to(20)
    account.pass_to(40)  # that the account once had 100 is too long ago
    bill(account, 40.5, 5)  # +10
    tickets(account, 41, 6)  # -24: 66
    (alert,) = account.drive.alerts
    assert alert.fall is not None
    # The 90 in between was the highest.
    assert (alert.fall.from_, alert.fall.to) == (90, 66)
    assert shares(alert) == {"support_tickets": pytest.approx(-24)}
    account = scenario()
    bill(account, 1, 10)
    tickets(account, 2.25, 1)  # 76, and 80 was the highest of the last 30 days when 100 is 30 days ago
    account.pass_to(17)
    account.pass_to(31)
    bill(account, 31.5, 9)  # +2, and the fall from 76 to 78 is none
    account.drive.take([account.record(31.75, "billing", kind="invoice_paid", days_late=8)])
    tickets(account, 32, 3)  # 68
    (alert,) = account.drive.alerts
    assert alert.fall is not None
    assert sum(shares(alert).values()) == pytest.approx(alert.fall.to - alert.fall.from_, abs=1e-9)


@pytest.mark.parametrize(
    ("fell", "alerted", "before"),
    [(14.5, 29.9, 100), (14.5, 31.5, 80), (16.5, 29.9, 100), (16.5, 31.5, 90), (16.5, 47.5, 80)],
)
def test_a_highest_score_of_30_days_ago_is_replaced_by_that_of_the_15_days_before(
    fell: float, alerted: float, before: float
) -> None:
    """It has 100 until day 1, then 90 until it fell, and then 80."""
    account = scenario()
    bill(account, 1, 5)
    bill(account, fell, 10)
    for day in range(int(fell) + 1, int(alerted) + 1):
        account.pass_to(day)
    tickets(account, alerted, 5)
    (alert,) = account.drive.alerts
    assert alert.fall is not None
    assert (alert.fall.from_, alert.fall.to) == (before, 60)


def test_an_acknowledged_and_a_snoozed_alert_keep_their_reason_across_a_restart() -> None:
    account = scenario()
    alert = fallen_slowly(account)
    account.restart()
    bill(account, 10.5, 1.5)  # 69: it is better, but the alert says why it fired
    account.take(11, "controls", kind="acknowledge", rule=ATTENTION, by="ann")
    account.take(11.5, "controls", kind="snooze", rule=ATTENTION, until=START + 13 * DAY)
    answers = [answer for answer in account.drive.alerts if answer.acknowledged_at is not None]
    assert [answer.snoozed_until is not None for answer in answers] == [False, True]
    for answer in answers:
        assert (answer.annotations["reason"], answer.fall) == (alert.annotations["reason"], alert.fall)


def test_worsening_is_a_hand_over_with_the_whole_fall() -> None:
    account = scenario()
    fallen_slowly(account)
    account.drive.alerts.clear()
    bill(account, 12, 10)  # 52
    tickets(account, 12.5, 3)  # 40
    account.use(12.6, 1)
    tickets(account, 13, 1)  # no more than ten tickets count
    assert not account.drive.alerts
    account.pass_to(60.2)  # the uses of day 0 have left the window: one is left, 4 points, and the tickets
    worse = {alert.status: alert for alert in account.drive.alerts}
    firing, resolved = worse["firing"], worse["resolved"]
    assert (firing.rule, firing.worsened_from, firing.worsened_to) == (POOR, ATTENTION, None)
    assert (resolved.rule, resolved.worsened_to, resolved.worsened_from) == (ATTENTION, POOR, None)
    assert firing.summary == (
        "acme worsened from attention to poor: health 4.0 (support tickets -40.0, usage -36.0, payment history -20.0)"
    )
    assert resolved.summary == "acme worsened from attention to poor: health 4.0"
    assert resolved.annotations["reason"] == "support tickets -28.0, payment history -4.0"
    assert firing.fall is not None
    assert (firing.fall.from_, firing.fall.to) == (100, 4)


def test_an_improvement_is_resolved_and_its_next_alert_names_what_is_still_missing() -> None:
    account = scenario()
    tickets(account, 1, 10)
    bill(account, 1.5, 10)  # 40 and then attention; 100 - 40 - 20
    account.drive.take([account.record(2, "billing", kind="invoice_paid", days_late=10)])
    account.pass_to(60.05)  # 0 uses and no bill of day 0
    account.drive.alerts.clear()
    account.use(60.5, 6)
    account.pass_to(61.5)  # the tickets of day 1 left
    firing = [alert for alert in account.drive.alerts if alert.status == "firing"]
    resolved = [alert for alert in account.drive.alerts if alert.status == "resolved"]
    assert [(alert.rule, alert.worsened_to) for alert in resolved] == [(POOR, None)]
    assert [(alert.rule, alert.worsened_from) for alert in firing] == [(ATTENTION, None)]
    assert firing[0].fall is not None
    assert all(delta < 0 for name, delta in shares(firing[0]).items() if name != "others")
    assert sum(shares(firing[0]).values()) == pytest.approx(firing[0].fall.to - firing[0].fall.from_, abs=1e-9)


def test_people_are_notified_of_a_worsening_once() -> None:
    account = scenario()
    fallen_slowly(account)
    bill(account, 12, 10)
    tickets(account, 12.5, 3)
    account.pass_to(60.2)
    alerts = OpenAlerts()
    notifications = [alerts.apply(alert) for alert in account.drive.alerts]
    assert [(each.kind, each.alert.rule) for each in notifications if each is not None and not each.worsened] == [
        ("firing", ATTENTION),
        ("firing", POOR),
    ]


def test_an_account_that_was_never_fine_says_what_costs_most() -> None:
    account = Scenario("", policy=POLICY.replace("{new}", ""))
    account.use(1, 2)
    tickets(account, 1.01, 8)
    first, *_ = account.drive.alerts
    assert (first.rule, first.fall) == (ATTENTION, None)
    # No invoice: weights are shared, 50 and 50, of which 10 are reached by two uses.
    assert first.summary == "acme is attention: health 60.0 (never better: usage -40.0)"


# -- new accounts -----------------------------------------------------------------------------------------------------

NEW = '[new_accounts]\nmin_age = "14d"'


def newcomer(new: str = NEW, rules: str = "") -> Scenario:
    """An account with an invoice and two tickets on day 1: 32 points."""
    account = Scenario("", policy=POLICY.replace("{new}", new).replace("{rules}", rules))
    account.drive.take([account.record(1.5, "billing", kind="invoice_paid", days_late=10)])
    tickets(account, 1.5, 2)
    return account


def latest(account: Scenario) -> dict[str, Any]:
    message = msgspec.json.decode(account.drive.engine.current().scores[0].value, type=ScoreMessage)
    return {"state": message.state, "until": message.new_until, "band": message.scores["health"].band}


def test_a_new_account_is_scored_and_not_alerted_until_the_boundary_at_which_it_is_not_new() -> None:
    account = newcomer()
    assert account.drive.alerts == []
    assert latest(account) == {"state": "new", "until": START + 15 * DAY, "band": "poor"}
    assert account.drive.scores[-1].state == "new"
    account.pass_to(14)
    assert account.drive.alerts == []
    account.restart()
    account.pass_to(15)
    assert account.published == [("firing", POOR, 15.0)]
    assert latest(account) == {"state": None, "until": None, "band": "poor"}
    assert account.drive.scores[-1].state is None
    (alert,) = account.drive.alerts
    assert alert.annotations["reason"] == "never better: usage -40.0, payment history -20.0, support tickets -8.0"


def test_without_the_table_the_first_event_alerts() -> None:
    assert [rule for status, rule, _ in newcomer(new="").published if status == "firing"][-1:] == [POOR]


def test_an_older_event_ends_it() -> None:
    account = newcomer()
    account.take(2, "billing", kind="invoice_paid", days_late=10, time=START - 20 * DAY)
    assert account.published == [("firing", POOR, 1.5)]


def test_only_a_silent_rule_fires_for_a_new_account() -> None:
    silence = '[alerts.quiet]\nwhen = {{ silent = "product-usage", within = "3d" }}\n'
    low = "[alerts.low]\nwhen = {{ below = 90 }}\n"
    account = newcomer(rules=silence + low)
    account.use(1.6, 1)  # 36
    account.pass_to(16)
    assert [(rule, day) for status, rule, day in account.published if status == "firing"] == [
        ("quiet", 4.0),
        (POOR, 15.0),
        ("low", 15.0),
    ]


def test_a_policy_that_begins_to_know_new_accounts_resolves_their_alerts() -> None:
    account = newcomer(new="")
    account.restart(plan_of(POLICY.format(new=NEW, rules="")))
    account.pass_to(2)
    assert account.published[-1] == ("resolved", POOR, 2.0)
    assert account.drive.alerts[-1].summary == "acme is new: alerts about its score begin later: health 32.0"
