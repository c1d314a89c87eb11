"""Accounts that end or have no data, under the policies of deploy/policies; the rest is in `cases`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.replays import Log, replay, values
from tests.pages.blocks import policy_files

POLICIES = policy_files(Path(__file__).parents[2] / "deploy" / "policies")


@pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)
def test_under_every_shipped_policy_a_cancelled_account_is_in_no_band(tmp_path: Path, policy: Path) -> None:
    log = Log().users("a", 10, 3).add("surveys", "a", 3, score=9).add("engagement", "a", 3, 10)
    log.add("billing", "a", 2, kind="cancelled").add("product-usage", "b")
    message = replay(tmp_path, policy.read_text(encoding="utf-8"), log).accounts["a"]
    assert message.state == "ended"
    assert {(score.value, score.band) for score in message.scores.values()} == {(None, None)}
    assert message.last is not None
    assert message.last.keys() == message.scores.keys()


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
