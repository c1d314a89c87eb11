"""The score changes of accounts that end or have no data, and what holds under every policy; the rest is in `cases`."""

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


def test_a_day_in_the_future_is_waited_for(tmp_path: Path) -> None:
    replayed = status(tmp_path, used(0).add("accounts", "a", 5, ended_at=midnight(-3)), days_later=4)
    assert replayed.accounts["a"].state == "ended"
    assert [(change.cause, change.time) for change in replayed.changes][-1] == ("status", midnight(-3))


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
