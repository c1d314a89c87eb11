"""What becomes of a rule's state and of its open alert when a new policy has the rule with something else in it."""

from __future__ import annotations

import pytest

from stream.engine.engine import Mode
from stream.plan.plan import Plan
from tests.driving.alert_histories import POLICY, Scenario, daily, day_of, rule
from tests.driving.engine import plan_of

MORE = """
[measures.same]
source = "product-usage"
stat = "count"
window = "1d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 0
[scores.other]
min_change = 1
bands = [{ name = "good", from = 60 }, { name = "fair", from = 30 }, { name = "poor", from = 0 }]
[scores.other.weights]
usage = 1
[segments.small]
when = { tier = ["small"] }
"""
LOW = "when = { below = 40 }"
FOUR_DAYS = '\nfor = "4d"'


def plan(rules: str) -> Plan:
    return plan_of(POLICY.format(rules=rules + MORE, window="1d"))


def fired(before: str, after: str, *, quiet: bool = False) -> list[tuple[str, float]]:
    """Firings and resolutions by a rule that another one takes the place of on day 3.

    `quiet`: no event comes after midnight 3, also of another account.
    """
    scenario = Scenario(rule(before) + MORE)
    scenario.take(0.1, "accounts", tier="small")
    scenario.use(0.5, 5)
    scenario.take(0.5, "support-tickets")
    for day in (1, 2, 3):
        scenario.pass_to(day)
    if not quiet:
        scenario.use(3.2, 1, account="other")
    scenario.restart(plan(rule(after)))
    for day in range(4, 12):
        scenario.pass_to(day)
    return [(alert.status, day_of(alert)) for alert in scenario.drive.alerts if alert.account_id == "acme"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (LOW, 'when = { band = "poor" }'),
        (LOW, LOW + '\nscore = "other"'),
        (LOW, LOW + '\nsegments = ["small"]'),
        ('when = { measure = "usage", points_below = 50 }', 'when = { measure = "same", points_below = 50 }'),
        ('when = { silent = "product-usage", within = "2d" }', 'when = { silent = "product-usage", within = "1d" }'),
    ],
    ids=["kind", "score", "segments", "measure", "within"],
)
def test_another_condition_waits_anew(before: str, after: str) -> None:
    """The first midnight under the new policy is 4."""
    assert fired(before + FOUR_DAYS, before + FOUR_DAYS)[0][1] in {5.0, 6.0}
    assert fired(before + FOUR_DAYS, after + FOUR_DAYS) == [("firing", 8.0)]


def test_a_silent_rule_of_another_source_waits_for_an_event_of_it() -> None:
    """Events of a source that no rule and no measure looked at are not remembered."""
    scenario = Scenario(rule('when = { silent = "product-usage", within = "2d" }') + MORE)
    scenario.use(0.5, 5)
    scenario.take(0.5, "surveys", score=9, kind="nps")
    scenario.pass_to(1)
    scenario.restart(plan(rule('when = { silent = "surveys", within = "2d" }')))
    scenario.pass_to(9)
    assert scenario.published == []
    scenario.take(9.5, "surveys", score=9, kind="nps")
    scenario.pass_to(11)
    assert scenario.published == [("firing", "r", 11.0)]


@pytest.mark.parametrize(
    "after",
    [
        "when = { below = 30 }" + FOUR_DAYS,
        LOW + FOUR_DAYS + "\nclear = 50",
        LOW + FOUR_DAYS + '\nseverity = "critical"\ncooldown = "3d"\nmax_per_day = 2',
    ],
    ids=["limit", "clear", "the rest"],
)
def test_another_limit_of_the_same_condition_goes_on_waiting(after: str) -> None:
    assert fired(LOW + FOUR_DAYS, after) == [("firing", 5.0)]


@pytest.mark.parametrize(("later", "day"), [("6d", 7.0), ("3d", 4.0), ("1d", 4.0)])
def test_the_time_that_has_elapsed_counts_toward_another_for(later: str, day: float) -> None:
    """It has held since midnight 1; one that is over by then fires at the first midnight."""
    assert fired(LOW + '\nfor = "9d"', f'{LOW}\nfor = "{later}"') == [("firing", day)]


@pytest.mark.parametrize(("later", "day"), [("5d", 7.0), ("3d", 5.0), ("1d", 5.0)])
def test_the_time_that_has_elapsed_counts_toward_another_cooldown(later: str, day: float) -> None:
    scenario = Scenario(rule(LOW + '\ncooldown = "9d"'), window="2d")
    daily(scenario, 3, 6)
    for hour in (1, 2, 3, 4):
        scenario.pass_to(hour)
    assert scenario.published == [("firing", "r", 0.5), ("resolved", "r", 2.0)]
    scenario.restart(plan_of(POLICY.format(rules=rule(f'{LOW}\ncooldown = "{later}"'), window="2d")))
    for midnight in range(5, 12):
        scenario.pass_to(midnight)
    assert scenario.published[2:] == [("firing", "r", day)]


WITH_HISTORY = ("", '\nfor = "1d"', '\ncooldown = "1d"', "\nmax_per_day = 1")


@pytest.mark.parametrize("old", WITH_HISTORY)
@pytest.mark.parametrize("new", WITH_HISTORY)
def test_an_open_alert_stays_open_if_the_new_condition_holds_and_waits_for_nothing(old: str, new: str) -> None:
    """It is looked at at the next boundary, midnight 4; `for` of a day makes it fire a day later."""
    began = ("firing", 2.0 if "for" in old else 1.0)
    assert fired(LOW + old, 'when = { band = "good" }' + new) == [began, ("resolved", 4.0)]
    waited = [("resolved", 4.0), ("firing", 5.0)] if "for" in new else []
    assert fired(LOW + old, 'when = { band = "poor" }' + new) == [began, *waited]


def test_after_a_boundary_without_an_event_since_an_open_alert_is_resolved_at_once() -> None:
    """Its state of the boundary is that of the new rule, which is idle."""
    history = '\ncooldown = "1d"'
    assert fired(LOW + history, 'when = { band = "poor" }' + history, quiet=True) == [
        ("firing", 1.0),
        ("resolved", 3.0),
        ("firing", 4.0),
    ]


def test_an_alert_that_ends_while_a_worker_catches_up_is_resolved_when_it_has() -> None:
    """And one whose condition holds for too short a time does not fire."""
    rules = rule(LOW, "low") + rule('when = { measure = "tickets", points_below = 80 }\nfor = "3d"', "many")
    scenario = Scenario(rules, window="9d")
    scenario.use(0.5, 3)
    assert scenario.published == [("firing", "low", 0.5)]
    scenario.drive.turn_to(Mode.CONFLATED)
    scenario.use(1.5, 5)
    scenario.drive.flush()
    assert len(scenario.published) == 1
    scenario.drive.take([scenario.record(2.5, "support-tickets") for _ in range(3)])
    scenario.drive.turn_to(Mode.HEAD)
    assert scenario.published[1:] == [("resolved", "low", 2.5)]


def test_in_the_mode_exact_alerts_are_published_on_the_way() -> None:
    scenario = Scenario(rule(LOW), window="9d")
    scenario.drive.turn_to(Mode.EXACT)
    scenario.use(0.5, 3)
    scenario.use(1.5, 5)
    scenario.drive.flush()
    assert scenario.published == [("firing", "r", 0.5), ("resolved", "r", 1.5)]
