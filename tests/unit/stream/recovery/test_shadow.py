"""Shadows by worked examples: what they say and keep, what is compared, promotion of their state and of the file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from schemas.outputs import ShadowMessage
from stream.accounts.acknowledgements import Acknowledgement
from stream.engine.engine import Mode
from tests.driving.alert_histories import DAY, POLICY, START, Scenario, rule
from tests.driving.engine import open_episodes, plan_of
from tests.driving.scores import messages_of
from tests.driving.shadow import CANDIDATE, LIVE, Both

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.oracle.engine import Record


def pair(plan: str = LIVE, candidate: str | None = CANDIDATE) -> tuple[Both, Scenario]:
    return Both(plan_of(plan), None if candidate is None else plan_of(candidate)), Scenario("")


def use(both: Both, scenario: Scenario, day: float, count: int, account: str = "acme") -> None:
    records: list[Record] = [scenario.record(day, account=account) for _ in range(count)]
    both.take(records)


def scores_in(topic: dict[str, ShadowMessage]) -> dict[str, tuple[float | None, list[str]]]:
    return {account: (message.scores["health"].value, message.alerts) for account, message in topic.items()}


# -- what is said -----------------------------------------------------------------------------------------------------


def test_the_shadow_says_scores_and_open_alerts_and_nothing_else() -> None:
    both, scenario = pair()
    use(both, scenario, 0.5, 8)
    assert scores_in(both.shadows()) == {"acme": (40.0, [])}
    assert not both.alerts()  # 80 under the live policy
    both.act(lambda engine: engine.tick(START + DAY))
    both.act(lambda engine: engine.tick(START + 2 * DAY))
    # 40 at the borders of day 1 and 2: `slow` has held for a day. The live score is 0 at the second: both of its fire.
    assert scores_in(both.shadows()) == {"acme": (40.0, ["slow"])}
    assert sorted(alert.rule for alert in both.alerts()) == ["band:health:poor", "low"]
    assert {change.policy for change in both.changes()} == {both.plan.label}
    use(both, scenario, 2.5, 4)  # 12 in four days: 60
    both.act(lambda engine: engine.tick(START + 3 * DAY))
    assert scores_in(both.shadows()) == {"acme": (60.0, [])}


def test_an_alert_that_opens_with_no_new_score_is_told() -> None:
    both, scenario = pair()
    use(both, scenario, 0.5, 8)
    both.act(lambda engine: engine.tick(START + DAY))
    before = len(both.raw)
    both.act(lambda engine: engine.tick(START + 2 * DAY))
    (sent,) = both.raw[before].shadow
    message = json.loads(sent.value)
    assert (message["scores"]["health"]["value"], message["alerts"]) == (40.0, ["slow"])


def test_behind_the_head_alerts_go_with_the_next_flush() -> None:
    both, scenario = pair()
    both.turn_to(Mode.EXACT)
    use(both, scenario, 0.5, 8)
    use(both, scenario, 2.5, 1, account="other")
    assert not both.shadow_topic
    both.turn_to(Mode.HEAD)
    assert scores_in(both.shadows()) == {"acme": (40.0, ["slow"]), "other": (5.0, ["low"])}


def test_an_error_of_the_shadow_ends_the_shadow_only(monkeypatch: pytest.MonkeyPatch) -> None:
    both, scenario = pair()
    use(both, scenario, 0.5, 8)
    failed: list[Exception] = []
    both.pair.on_failure = failed.append
    assert both.pair.shadow is not None
    monkeypatch.setattr(both.pair.shadow.engine, "step", lambda *_: 1 / 0)
    use(both, scenario, 0.75, 1)
    assert [type(error) for error in failed] == [ZeroDivisionError]
    assert messages_of(both.pair.live)["acme"]["scores"]["health"]["value"] == 90
    both.commit()
    both.start()  # its namespace is behind: it starts again from the live one
    assert both.opened.begun
    use(both, scenario, 0.75, 1)
    assert scores_in(both.shadows())["acme"][0] == 50


# -- its state --------------------------------------------------------------------------------------------------------


def test_a_candidate_begins_with_what_the_live_policy_has_kept() -> None:
    both, scenario = pair(candidate=None)
    use(both, scenario, 0.5, 8)
    both.commit()
    both.candidate = plan_of(CANDIDATE)
    both.start()
    missing = {"usage": "has all events since 2024-09-13: the 4 days that it looks back are full at 2024-09-16"}
    assert both.opened.shadow_missing == missing
    assert both.opened.begun
    both.commit()  # without a new event
    assert scores_in(both.shadows()) == {"acme": (40.0, [])}
    both.start()
    assert (both.opened.begun, both.opened.shadow_missing) == (False, missing)


def test_another_candidate_begins_anew_and_the_namespace_before_it_goes() -> None:
    both, scenario = pair()
    use(both, scenario, 0.5, 8)
    both.commit()
    first = both.opened.namespaces.shadow
    both.candidate = plan_of(CANDIDATE.replace("hundred_at = 20", "hundred_at = 40"))
    both.start()
    both.commit()
    assert {key[:9] for key in both.topic if key[:1] == b"x"} == {both.opened.namespaces.shadow} != {first}
    assert scores_in(both.shadows()) == {"acme": (20.0, ["low"])}


def test_without_a_shadow_its_namespace_and_its_records_go() -> None:
    both, scenario = pair()
    use(both, scenario, 0.5, 8)
    both.commit()
    both.candidate = None
    both.start()
    assert both.opened.namespaces.waits
    both.commit()
    assert not [key for key in both.topic if key[:1] == b"x"]
    assert not both.shadow_topic
    assert not both.opened.namespaces.waits


def test_a_shadow_that_was_away_begins_anew() -> None:
    both, scenario = pair()
    use(both, scenario, 0.5, 8)
    both.commit()
    behind = {key: value for key, value in both.topic.items() if key[:1] == b"x"}
    both.candidate = None
    both.start()
    use(both, scenario, 0.75, 1)
    both.commit()
    both.topic |= behind  # as if the last commit had been cut before the end
    both.candidate = plan_of(CANDIDATE)
    both.start()
    assert both.opened.begun
    both.commit()
    assert scores_in(both.shadows())["acme"][0] == 45


def test_the_live_policy_is_no_shadow_of_itself() -> None:
    both, _ = pair(candidate=LIVE)
    assert both.pair.shadow is None


def test_promoted_it_goes_on_and_says_once_what_is_different() -> None:
    both, scenario = pair()
    use(both, scenario, 0.5, 8)
    both.act(lambda engine: engine.tick(START + DAY))
    both.act(lambda engine: engine.tick(START + 2 * DAY))
    both.commit()
    assert sorted(alert.rule for alert in both.alerts()) == ["band:health:poor", "low"]
    before, reasons = len(both.raw), {alert.rule: alert.annotations["reason"] for alert in both.alerts()}
    both.plan, both.candidate = plan_of(CANDIDATE), None
    both.start()
    assert (both.opened.promoted, both.opened.missing) == (True, {})
    both.commit()
    # Four days are known though the live policy kept two. Its two alerts do not hold under this policy; `slow` does.
    assert messages_of(both.pair.live)["acme"]["scores"]["health"]["value"] == 40
    alerts = both.alerts()[2:]
    assert sorted((alert.status, alert.rule) for alert in alerts) == [
        ("firing", "slow"),
        ("resolved", "band:health:poor"),
        ("resolved", "low"),
    ]
    resolved = {alert.rule: alert.annotations["reason"] for alert in alerts if alert.status == "resolved"}
    assert resolved["low"] == reasons["low"] != ""  # the other rule is gone, and its alert ends for that reason
    (change,) = both.changes()[-1:]
    assert (change.from_, change.to, change.cause, change.policy) == (0.0, 40.0, "policy", both.plan.label)
    assert sum(len(effects.changes) for effects in both.raw[before:]) == 1
    assert not both.shadow_topic
    for _ in range(2):
        both.start()
        assert (both.opened.promoted, open_episodes(both.pair.live)) == (False, {("acme", "slow")})
        both.commit()
    assert len(both.alerts()) == 5
    assert {key[:1] for key in both.topic} == {b"b", b"x"}


def test_after_a_promotion_the_next_shadow_and_the_next_promotion_work_too() -> None:
    both, scenario = pair()
    use(both, scenario, 0.5, 8)
    both.commit()
    both.plan, both.candidate = plan_of(CANDIDATE), plan_of(LIVE)
    both.start()
    both.commit()
    # The former live policy goes on as the shadow, in the namespace that it always had.
    assert (both.opened.promoted, both.opened.begun) == (True, False)
    use(both, scenario, 1, 1)
    both.commit()
    assert scores_in(both.shadows())["acme"][0] == 90
    both.plan, both.candidate = plan_of(LIVE), plan_of(CANDIDATE)
    both.start()
    both.commit()
    assert (both.opened.promoted, both.opened.begun) == (True, False)
    assert messages_of(both.pair.live)["acme"]["scores"]["health"]["value"] == 90
    both.candidate = plan_of(CANDIDATE.replace("30", "20"))
    both.start()
    both.commit()
    assert (both.opened.promoted, both.opened.begun) == (False, True)
    assert {key[:1] for key in both.topic} > {b"x", b"r"}


# -- acknowledgements and snoozes at a promotion ----------------------------------------------------------------------

SAME_RULES = POLICY.format(rules=rule("when = { below = 40 }"), window="1d")
SAME_RULES_CANDIDATE = SAME_RULES.replace('"alerts"', '"candidate"')
LONGEST_COMMIT = 25
"""More records than a commit of one account has, in both namespaces."""


def promoted_after_a_crash(both: Both, torn: Sequence[Record], written: int) -> None:
    """Commit, crash when so many records of the commit after `torn` are written, and start with the candidate live.

    Where the crash was before the live row, what was published is forgotten: it has to be published again.
    """
    both.commit()
    live_row = both.topic[b"racme"]
    both.take(torn)
    both.commit(written)
    if both.topic[b"racme"] == live_row:
        both.raw.clear()
    promote_shadow(both)
    both.take(torn)
    both.commit()


def promote_shadow(both: Both) -> None:
    """Start with the candidate as the live policy and no shadow."""
    assert both.candidate is not None
    both.plan, both.candidate = both.candidate, None
    both.start()
    assert both.opened.promoted


def alert_state(both: Both) -> tuple[str, str, set[tuple[str, str]]]:
    """Ids of the current acknowledgement and snooze of the rule `r`, "" for none, and the alerts that are open."""
    acknowledgement = both.pair.live.accounts.acknowledgements.get(0, {}).get("r", Acknowledgement())
    acknowledged, snoozed = acknowledgement.acknowledged, acknowledgement.snoozed
    opened = open_episodes(both.pair.live)
    return "" if acknowledged is None else acknowledged.id, "" if snoozed is None else snoozed.id, opened


def control(scenario: Scenario, day: float, kind: str, rule: str = "r", **fields: Any) -> Record:
    return scenario.record(day, "controls", kind=kind, rule=rule, **fields)


@pytest.mark.parametrize("written", range(LONGEST_COMMIT))
def test_an_acknowledgement_in_a_torn_commit_survives_the_promotion_of_a_snoozed_alert(written: int) -> None:
    both, scenario = pair(SAME_RULES, SAME_RULES_CANDIDATE)
    use(both, scenario, 0.5, 2)
    both.take([control(scenario, 0.55, "snooze", until=START + 3 * DAY)])
    promoted_after_a_crash(both, [control(scenario, 0.6, "acknowledge", by="ann")], written)
    assert alert_state(both) == ("controls1", "controls0", {("acme", "r")})
    last = both.alerts()[-1]
    assert (last.acknowledged_by, last.snoozed_until) == ("ann", START + 3 * DAY)


@pytest.mark.parametrize("written", range(LONGEST_COMMIT))
def test_the_end_of_a_snooze_in_a_torn_commit_survives_the_promotion(written: int) -> None:
    both, scenario = pair(SAME_RULES, SAME_RULES_CANDIDATE)
    use(both, scenario, 0.5, 2)
    both.take([control(scenario, 0.55, "snooze", until=START + 3 * DAY)])
    promoted_after_a_crash(both, [control(scenario, 0.6, "snooze", until=START + DAY // 2)], written)
    assert alert_state(both) == ("", "", {("acme", "r")})
    assert both.alerts()[-1].snoozed_until is None


@pytest.mark.parametrize("written", range(LONGEST_COMMIT))
def test_an_acknowledgement_that_the_candidate_forgot_survives_a_torn_commit_and_the_promotion(written: int) -> None:
    both, scenario = pair(SAME_RULES, SAME_RULES_CANDIDATE.replace("below = 40", "below = 20"))
    use(both, scenario, 0.5, 1)
    both.take([control(scenario, 0.55, "acknowledge", by="ann")])
    use(both, scenario, 0.6, 1)  # 20: the candidate's alert is resolved, and fires again two days later
    both.act(lambda engine: engine.tick(START + 2 * DAY))
    promoted_after_a_crash(both, [control(scenario, 2.1, "snooze", until=START + 3 * DAY)], written)
    assert alert_state(both) == ("controls0", "controls1", {("acme", "r")})
    last = both.alerts()[-1]
    assert (last.acknowledged_by, last.snoozed_until) == ("ann", START + 3 * DAY)


def test_an_acknowledgement_of_an_episode_that_is_over_for_readers_does_not_come_back_with_the_promotion() -> None:
    both, scenario = pair(SAME_RULES, SAME_RULES_CANDIDATE.replace("below = 40", "below = 90"))
    use(both, scenario, 0.5, 1)
    both.take([control(scenario, 0.55, "acknowledge", by="ann")])
    use(both, scenario, 0.6, 5)  # 60: the live alert is resolved, the candidate's is not
    both.act(lambda engine: engine.tick(START + 2 * DAY))
    both.commit()
    assert [(alert.status, alert.acknowledged_by) for alert in both.alerts()] == [
        ("firing", None),
        ("firing", "ann"),
        ("resolved", None),
        ("firing", None),
    ]
    promote_shadow(both)
    both.commit()
    assert alert_state(both) == ("", "", {("acme", "r")})
    assert both.alerts()[-1].acknowledged_by is None


def test_a_snooze_of_a_rule_that_only_the_candidate_has_is_active_after_the_promotion() -> None:
    both, scenario = pair(SAME_RULES, SAME_RULES_CANDIDATE.replace("[alerts.r]", "[alerts.s]"))
    use(both, scenario, 0.5, 1)
    both.take([control(scenario, 0.55, "snooze", rule="s", until=START + 3 * DAY)])
    both.commit()
    promote_shadow(both)
    both.commit()
    assert [alert.snoozed_until for alert in both.alerts() if alert.rule == "s"] == [START + 3 * DAY]
