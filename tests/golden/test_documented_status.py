"""What docs/reference/policy/status.md defines: who has ended or has no data, and what is published then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schemas.outputs import LastScore
from tests.golden.replays import Log, Replayed, day_ms, midnight, replay, values
from tests.golden.test_documented_policies import SHOWN
from tests.pages.blocks import policy_files

POLICIES = policy_files(Path(__file__).parents[2] / "deploy" / "policies")


def status(folder: Path, log: Log, days_later: int = 0) -> Replayed:
    """Replay by the policy that the page shows."""
    return replay(folder, SHOWN["status"], log, days_later)


def used(days_ago: int, times: int = 40) -> Log:
    """40 % of full usage and no tickets: (40 + 100) / 2 = 70."""
    return Log().add("product-usage", "a", days_ago, times)


def test_a_cancelled_account_has_ended_and_keeps_its_last_score(tmp_path: Path) -> None:
    replayed = status(tmp_path, used(3).add("billing", "a", 2, kind="cancelled"))
    message = replayed.accounts["a"]
    assert (message.state, message.ended_at) == ("ended", day_ms(2))
    assert (replayed.score("a").value, replayed.score("a").band) == (None, None)
    assert message.last == {"health": LastScore(70, "healthy")}
    last = replayed.changes[-1]
    assert (last.cause, last.state, last.from_, last.to, last.band_to) == ("status", "ended", 70, 70, "healthy")
    assert last.time == day_ms(2)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)
def test_under_every_shipped_policy_a_cancelled_account_is_in_no_band(tmp_path: Path, policy: Path) -> None:
    log = Log().users("a", 10, 3).add("surveys", "a", 3, score=9).add("engagement", "a", 3, 10)
    log.add("billing", "a", 2, kind="cancelled").add("product-usage", "b")
    message = replay(tmp_path, policy.read_text(encoding="utf-8"), log).accounts["a"]
    assert message.state == "ended"
    assert {(score.value, score.band) for score in message.scores.values()} == {(None, None)}
    assert message.last is not None
    assert message.last.keys() == message.scores.keys()


def test_what_ends_an_account_can_be_named(tmp_path: Path) -> None:
    assert status(tmp_path, used(3).add("engagement", "a", 2, kind="offboarded")).accounts["a"].state == "ended"
    assert status(tmp_path, used(3).add("engagement", "a", 2)).accounts["a"].state is None


@pytest.mark.parametrize(
    ("topic", "fields"),
    [("billing", {"kind": "renewed"}), ("product-usage", {}), ("controls", {"value": 50})],
)
def test_a_later_event_is_a_reactivation(tmp_path: Path, topic: str, fields: dict[str, Any]) -> None:
    log = used(3).add("billing", "a", 2, kind="cancelled").add(topic, "a", 1, **fields)
    replayed = status(tmp_path, log)
    assert replayed.accounts["a"].state is None
    assert replayed.score("a").band == "healthy"
    assert [(change.state, change.state_from) for change in replayed.changes if change.cause == "status"] == [
        ("ended", None),
        (None, "ended"),
    ]


def test_a_person_who_writes_about_an_ended_account_does_not_bring_it_back(tmp_path: Path) -> None:
    log = used(3).add("billing", "a", 2, kind="cancelled")
    log.add("controls", "a", 1, kind="override", score=90, reason="r", expires_at=day_ms(-30))
    assert status(tmp_path, log).accounts["a"].state == "ended"


@pytest.mark.parametrize(
    ("ended_ago", "event_ago", "state"),
    [(2, 3, "ended"), (2, 2, "ended"), (2, 1, None), (-1, 0, None)],
    ids=["earlier", "the same day", "a later day", "in the future"],
)
def test_a_profile_ends_an_account_from_its_day_on(
    tmp_path: Path, ended_ago: int, event_ago: int, state: str | None
) -> None:
    log = used(event_ago).add("accounts", "a", 5, ended_at=midnight(ended_ago))
    message = status(tmp_path, log).accounts["a"]
    assert message.state == state
    assert message.ended_at == (None if state is None else midnight(ended_ago))


@pytest.mark.parametrize(
    ("ended_at", "state"), [({}, "ended"), ({"ended_at": None}, None), ({"ended_at": midnight(-1)}, None)]
)
def test_a_later_record_that_says_nothing_of_the_end_does_not_change_it(
    tmp_path: Path, ended_at: dict[str, Any], state: str | None
) -> None:
    log = used(3).add("accounts", "a", 5, ended_at=midnight(2)).add("accounts", "a", 1, name="A", **ended_at)
    assert status(tmp_path, log).accounts["a"].state == state


def test_a_day_in_the_future_is_waited_for(tmp_path: Path) -> None:
    replayed = status(tmp_path, used(0).add("accounts", "a", 5, ended_at=midnight(-3)), days_later=4)
    assert replayed.accounts["a"].state == "ended"
    assert [(change.cause, change.time) for change in replayed.changes][-1] == ("status", midnight(-3))


def test_alerts_are_resolved_with_the_reason(tmp_path: Path) -> None:
    # 10 tickets: 0 points, and 40 % of usage: 20, poor.
    log = used(3).add("support-tickets", "a", 3, 10).add("billing", "a", 2, kind="cancelled")
    fired, resolved = status(tmp_path, log).alerts
    assert (fired.status, fired.score, fired.state) == ("firing", 20, None)
    assert (resolved.status, resolved.ends_at, resolved.state) == ("resolved", day_ms(2), "ended")
    assert resolved.summary == "a has ended: health was 20.0"
    assert (resolved.score, resolved.band) == (20, "poor")


@pytest.mark.parametrize(("days_later", "state"), [(59, None), (60, "no-data")])
def test_a_dormant_account_has_no_data_and_is_not_at_risk(tmp_path: Path, days_later: int, state: str | None) -> None:
    # After 28 days both windows are empty: 0 and 100 points, which is 50.
    replayed = status(tmp_path, used(0).add("product-usage", "b", -days_later), days_later)
    message = replayed.accounts["a"]
    assert message.state == state
    assert replayed.score("a").value == (None if state else 50)
    assert message.last_event_at == (day_ms(0) if state else None)
    if state is not None:
        last = [change for change in replayed.changes if change.account_id == "a"][-1]
        assert (last.cause, last.state, last.to, last.time) == ("status", "no-data", 50, midnight(-60))


@pytest.mark.parametrize(("silent", "value"), [("worse", 0), ("now", 50)])
def test_a_silent_account_keeps_its_tickets(tmp_path: Path, silent: str, value: float) -> None:
    # 40 uses and 10 tickets: (40 + 0) / 2. When the windows are empty, no tickets alone would be 100 points.
    policy = SHOWN["status"].replace("[status]", f'[status]\nwhile_silent = "{silent}"')
    log = Log().add("product-usage", "a", 0, times=40).add("support-tickets", "a", 0, times=10)
    assert replay(tmp_path, policy, log).score("a").value == 20
    log.add("product-usage", "b", -40)
    replayed = replay(tmp_path, policy, log, days_later=40)
    assert replayed.score("a").value == value
    assert replayed.accounts["a"].held == (["tickets"] if silent == "worse" else None)


def test_data_that_has_all_expired_is_no_data(tmp_path: Path) -> None:
    # Without `dormant_after` a week after the shortest window: not 0, and not critical. Before, 2 users are poor.
    template = (Path(__file__).parents[2] / "deploy" / "policies" / "template.toml").read_text(encoding="utf-8")
    policy = template.replace("[new_accounts]", "[storms]\nleast = 100\n#").replace('min_age = "14d"', "")
    log = Log().users("a", 2).add("billing", "a")
    assert replay(tmp_path, policy, log, days_later=34).accounts["a"].state is None
    replayed = replay(tmp_path, policy, log, days_later=35)
    assert replayed.accounts["a"].state == "no-data"
    assert values(replayed.score("a")) == dict.fromkeys(values(replayed.score("a")))
    last = [alert for alert in replayed.alerts if alert.account_id == "a"][-1]
    assert (last.status, last.state) == ("resolved", "no-data")
    assert last.summary.startswith("a has no data any more: health was ")


def test_all_measures_missing_is_no_data(tmp_path: Path) -> None:
    policy = (
        'name = "voice"\n[measures.nps]\nsource = "surveys"\nstat = "mean"\nfield = "score"\nwindow = "30d"\n'
        'weight = 1\nnormalise = { kind = "linear", zero_at = 0, hundred_at = 10 }\n[scores.health]\nmin_change = 1\n'
        'bands = [{ name = "fine", from = 50 }, { name = "poor", from = 0, alert = "critical" }]\n'
    )
    replayed = replay(tmp_path, policy, Log().add("product-usage", "a", 1))
    assert (replayed.accounts["a"].state, replayed.score("a").value) == ("no-data", None)
    assert not replayed.alerts
    assert not replayed.changes, "there was no score, so none was lost"
    assert replayed.accounts["a"].last is None
    assert replay(tmp_path, policy, Log().add("surveys", "a", 1, score=8)).score("a").value == 80
    with_points = policy.replace("weight = 1\n", "weight = 1\nmissing = 30\n")
    assert replay(tmp_path, with_points, Log().add("product-usage", "a", 1)).score("a").value == 30


def test_only_one_of_two_scores_has_no_data(tmp_path: Path) -> None:
    policy = SHOWN["two-scores"]
    replayed = replay(tmp_path, policy, Log().add("surveys", "a", 1, score=9))
    assert replayed.accounts["a"].state is None
    assert replayed.score("a", "churn").value is not None
    only_voice = policy.replace("measures = { logins = 2, depth = 1 }", "measures = { nps = 1 }").replace(
        "[scores.churn.groups.voice]\nweight = 1\nmeasures = { nps = 1 }\n", ""
    )
    replayed = replay(tmp_path, only_voice.replace("impacts = { depth", "impacts = { logins = 1, depth"), used(1))
    assert replayed.accounts["a"].state is None
    assert (replayed.score("a", "churn").value, replayed.score("a", "upsell").value is None) == (None, False)


def test_an_ended_account_is_no_peer(tmp_path: Path) -> None:
    # Of a, b and c the second has ended: 6 is above one of two, and equal to itself.
    log = Log().add("product-usage", "a", 1, 6).add("product-usage", "c", 1, 2).add("product-usage", "b", 2, 4)
    log.add("billing", "b", 1, kind="cancelled")
    replayed = replay(tmp_path, SHOWN["among-peers"], log)
    assert values(replayed.score("a")) == {"usage": 75}
