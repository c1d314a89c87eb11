"""Erased accounts: nothing is left of them, and a later event of the same id begins anew, as the oracle says.

In any batches and modes, and through crashes at any record of a commit.
"""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.engine.engine import Mode
from stream.recovery.record_form import STATE_KEY, account_of
from tests.driving.alerts import alerts_in, changes_in
from tests.driving.crashes import Crashing, live_through
from tests.driving.engine import assert_same, cuts, driven, erased_in, partitions, plan_of, plausible_logs, scores_of
from tests.driving.scores import messages_of
from tests.oracle.engine import (
    PartitionState,
    Record,
    final_scores,
    final_scores_all,
    outcomes,
    read_policy,
    steps_of,
)
from tests.strategies.effort import examples
from tests.strategies.policies import NOW_MS, policies
from tests.strategies.rich_policies import rich_policies

LOGS = plausible_logs(partitions=1, erasures=True)


@given(st.data(), LOGS, policies())
def test_scores_after_erasures_are_those_of_the_oracle(
    data: st.DataObject, log: list[Record], policy_text: str
) -> None:
    (records,) = partitions(log).values()
    drive = driven(data.draw(cuts(records)), plan_of(policy_text))
    assert_same(scores_of(drive.engine), final_scores(log, policy_text, NOW_MS))
    assert +drive.engine.settled == outcomes(log, policy_text, NOW_MS)


@given(
    st.data(),
    plausible_logs(partitions=1, backdated=False, erasures=True, many_profiles=True),
    policies(),
    st.sampled_from(((Mode.HEAD,), (Mode.HEAD, Mode.CONFLATED), (Mode.EXACT,))),
)
def test_scores_after_erasures_and_crashes_are_those_of_the_oracle(
    data: st.DataObject, log: list[Record], policy_text: str, modes: tuple[Mode, ...]
) -> None:
    (records,) = partitions(log).values()
    worker = Crashing(plan_of(policy_text), records)
    live_through(data, worker, modes)
    assert_same(scores_of(worker.drive.engine), final_scores(log, policy_text, NOW_MS))
    assert +worker.drive.engine.settled == outcomes(log, policy_text, NOW_MS)
    worker.commit()
    assert_nothing_left(worker, log, policy_text)


@settings(max_examples=examples(40))
@given(
    st.data(),
    plausible_logs(partitions=1, backdated=False, erasures=True),
    rich_policies(),
    st.sampled_from(((Mode.HEAD,), tuple(Mode))),
)
def test_nothing_is_left_of_erased_accounts_under_policies_with_every_feature(
    data: st.DataObject, log: list[Record], policy_text: str, modes: tuple[Mode, ...]
) -> None:
    (records,) = partitions(log).values()
    worker = Crashing(plan_of(policy_text), records)
    live_through(data, worker, modes)
    expected = final_scores_all(log, policy_text, NOW_MS)
    actual = messages_of(worker.drive.engine)
    assert {
        account: {name: rounded(score["value"]) for name, score in message["scores"].items()}
        for account, message in actual.items()
    } == {
        account: {name: rounded(score.value) for name, score in of_account.scores.items()}
        for account, of_account in expected.items()
    }
    worker.commit()
    assert_nothing_left(worker, log, policy_text)


def rounded(value: float | None) -> float | None:
    """Return a score without rounding errors; None where there is none."""
    return None if value is None else round(value, 6)


def assert_nothing_left(worker: Crashing, log: list[Record], policy_text: str) -> None:
    """Fail if the changelog or an open alert has an account of which an erasure was the last that counts."""
    state = PartitionState()
    for _, event in steps_of(log, read_policy(policy_text), NOW_MS)[0]:
        state.take(event)
    known = state.events.keys() | state.profiles.keys()
    assert {name for key in worker.keys if (name := account_of(key)) is not None} <= known
    assert not json.loads(worker.keys.get(STATE_KEY, b"{}")).get("erasing")
    accounts = worker.drive.engine.accounts
    assert {name for name in accounts.index.names if name and not accounts.is_empty(accounts.index[name])} == known
    last = {
        (alert["account_id"], alert["rule"]): alert["status"] for alert in map(json.loads, alerts_in(worker.published))
    }
    assert {account for (account, _), status in last.items() if status == "firing"} <= known | {""}


def test_a_commit_that_is_cut_anywhere_leaves_an_erasure_that_is_made_up_for() -> None:
    """Every prefix of the commit with the erasure, with and without events of the same id after it."""
    before = [usage("acme", "u1", 0), usage("acme", "u2", 1), usage("other", "u1", 2)]
    erase = [Record("controls", 0, 0, NOW_MS, b"acme", control("acme"))]
    for after in ([], [usage("acme", "u3", 3, later=1)]):
        log = [*before, *erase, *after]
        for first in range(4):
            for written in range(14):
                worker = Crashing(plan_of(POLICY), log)
                worker.drive.take(log[:first])
                worker.commit()
                worker.drive.take(log[first:])
                worker.commit(written)
                worker.crash()
                worker.drive.take(worker.pending())
                worker.drive.reconcile()
                worker.commit()
                worker.end()
                assert_same(scores_of(worker.drive.engine), final_scores(log, POLICY, NOW_MS), (first, written))
                assert_nothing_left(worker, log, POLICY)
                assert_published_once(worker, (first, written))


def assert_published_once(worker: Crashing, where: object) -> None:
    """Fail if a change of an erased account is published between two erasures of it, or twice."""
    changes = changes_in(worker.published)
    gone = [index for index, value in enumerate(changes) if erased_in(value) == b"acme"]
    between = changes[gone[0] : gone[-1]]
    assert not [value for value in between if json.loads(value).get("account_id") == "acme"], where
    ids = [json.loads(value)["id"] for value in changes if erased_in(value) is None]
    assert len(ids) == len(set(ids)), where


POLICY = """
name = "p"
[measures.m]
source = "product-usage"
stat = "distinct_users"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "good", from = 15 }, { name = "poor", from = 0, alert = "warning" }]
"""


def usage(account: str, user: str, offset: int, later: int = 0) -> Record:
    event = {"id": f"{account}-{user}-{offset}", "account_id": account, "time": NOW_MS + later, "user_id": user}
    return Record("product-usage", 0, offset, NOW_MS + later, account.encode(), json.dumps(event).encode())


def control(account: str) -> bytes:
    return json.dumps({"id": "e", "account_id": account, "time": NOW_MS, "kind": "erase"}).encode()
