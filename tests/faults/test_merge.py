"""Row 22: accounts are merged across partitions, and the worker is killed at every step of the commits around it.

With and without deduplication by id: a forwarded record counts once by its position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults import topic_log, verdict
from tests.faults.deployment import Deployment
from tests.faults.events import END_MS, USAGE, accounts_of, event
from tests.faults.test_commit_steps import dies_at
from tests.oracle.engine import Record, final_scores_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.topic_log import Message

pytestmark = pytest.mark.faults

POLICY = """
name = "merged"

[measures.events]
source = "product-usage"
stat = "count"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 1000 }
weight = 1

[measures.users]
source = "product-usage"
stat = "distinct_users"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 1000 }
weight = 1

[scores.health]
min_change = 0
bands = [{ name = "many", from = 50 }, { name = "few", from = 0, alert = "warning" }]
"""
GONE, STAYS = accounts_of(0, 1, "gone")[0], accounts_of(1, 1, "stays")[0]
LAST = accounts_of(2, 1, "last")[0]
STEPS = ("outputs", "half the rows", "state", "outputs", "rows", "one partition", "state", "offsets")
FIRST, MORE = 200, 25
LAST_NUMBER = FIRST + MORE * len(STEPS)


def use(account: str, number: int, moment: int) -> Message:
    return event(USAGE, f"{account}-{number}", account, END_MS + moment, user_id=f"user-{number}")


def merge(account: str, into: str, moment: int) -> Message:
    return event("controls", f"merge-{account}", account, END_MS + moment, kind="merge", into=into)


def expected_scores(deployment: Deployment) -> dict[str, float | None]:
    """The oracle's value of each account, with the records of all partitions in the order of their time."""
    topics = topic_log.read(deployment.kafka.bootstrap, [USAGE, "controls"])
    stored = sorted((each for topic in topics.values() for each in topic), key=lambda each: each.timestamp_ms)
    log = [Record(each.topic, 0, number, each.timestamp_ms, each.key, each.value) for number, each in enumerate(stored)]
    scores = final_scores_all(log, POLICY, verdict.FAR_FUTURE_MS)
    return {account: each.scores["health"].value for account, each in scores.items()}


def published_scores(deployment: Deployment) -> dict[str, float | None]:
    return {account: message["scores"]["health"]["value"] for account, message in deployment.scores().items()}


@pytest.mark.parametrize("dedup", [True, False])
def test_a_worker_killed_at_every_step_of_a_merge_loses_and_repeats_nothing(
    tmp_path: Path, fault: Callable[[str, dict[str, int]], None], *, dedup: bool
) -> None:
    accounts = (GONE, STAYS, LAST)
    with Deployment(tmp_path, policy=POLICY, dedup=dedup) as deployment:
        deployment.send(use(account, number, number) for account in accounts for number in range(FIRST))
        deployment.send([merge(GONE, STAYS, FIRST), merge(STAYS, LAST, FIRST + 1)])
        for begin, step in zip(range(FIRST, LAST_NUMBER, MORE), STEPS, strict=True):
            numbers = range(begin, begin + MORE)
            deployment.send(use(account, number, number + 2) for account in accounts for number in numbers)
            dies_at(deployment, step, 1)
        deployment.start()
        deployment.until_done()
        expected = expected_scores(deployment)
        assert expected == {GONE: None, STAYS: None, LAST: pytest.approx(70.0)}
        deployment.until(lambda: published_scores(deployment) == pytest.approx(expected), "the scores are the oracle's")
        pointers = {account: message.get("merged_into") for account, message in deployment.scores().items()}
        assert pointers == {GONE: STAYS, STAYS: LAST, LAST: None}
        assert not verdict.twice_named(deployment.documents(verdict.CHANGES))
        open_now = verdict.open_alerts(deployment.documents(verdict.ALERTS))
        assert open_now == set(), "alerts of merged accounts are resolved, and the last one is fine"
        figures = {"kills": deployment.kills, "events": LAST_NUMBER * len(accounts), "accounts": len(expected)}
    fault(f"22 merge accounts, dedup {dedup}", figures)


def profile(account: str, *aliases: str) -> Message:
    return event("accounts", f"profile-{account}", account, END_MS, aliases=list(aliases))


def test_aliases_are_learned_between_events_while_the_worker_is_killed(
    tmp_path: Path, fault: Callable[[str, dict[str, int]], None]
) -> None:
    accounts, rounds = (GONE, STAYS, LAST), ("outputs", "outputs", "half the rows", "state")
    with Deployment(tmp_path, policy=POLICY, dedup=False) as deployment:
        for number, step in enumerate(rounds):
            numbers = range(number * MORE, (number + 1) * MORE)
            deployment.send(use(account, each, each) for account in accounts for each in numbers)
            if number == 1:
                deployment.send([profile(STAYS, GONE, "unknown"), profile(LAST, STAYS)])
            dies_at(deployment, step, 1)
        deployment.start()
        deployment.until_done()
        events = MORE * len(rounds)
        expected = {GONE: None, STAYS: None, LAST: pytest.approx((3 * events + events) / 1000 * 100 / 2)}
        deployment.until(lambda: published_scores(deployment) == expected, "all events count for the last account")
        pointers = {account: message.get("merged_into") for account, message in deployment.scores().items()}
        assert pointers == {GONE: STAYS, STAYS: LAST, LAST: None}
        assert deployment.documents("controls.dlq") == []
        figures = {"kills": deployment.kills, "events": events * len(accounts)}
    fault("22 aliases, dedup False", figures)
