"""Merged accounts: scores are those of the oracle, as if every event of the one account had been the other's.

In any batches and modes, with erasures, where all accounts are in one engine. `test_handed_over.py` is about accounts
of several partitions.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.driving.engine import assert_same, cuts, driven, partitions, plan_of, plausible_logs, scores_of
from tests.driving.scores import messages_of
from tests.oracle.engine import Record, final_scores, final_scores_all, outcomes
from tests.strategies.effort import examples
from tests.strategies.policies import NOW_MS, policies
from tests.strategies.rich_policies import rich_policies


@given(
    st.data(),
    st.one_of(
        plausible_logs(partitions=1, merges=True, many_profiles=True),
        plausible_logs(partitions=1, merges=True, erasures=True),
    ),
    policies(),
)
def test_scores_after_merges_are_those_of_the_oracle(data: st.DataObject, log: list[Record], policy_text: str) -> None:
    (records,) = partitions(log).values()
    drive = driven(data.draw(cuts(records)), plan_of(policy_text))
    assert_same(scores_of(drive.engine), final_scores(log, policy_text, NOW_MS))
    assert +drive.engine.settled == outcomes(log, policy_text, NOW_MS)


@settings(max_examples=examples(60))
@given(st.data(), plausible_logs(partitions=1, merges=True, erasures=True, many_profiles=True), rich_policies())
def test_scores_after_merges_under_policies_with_every_feature(
    data: st.DataObject, log: list[Record], policy_text: str
) -> None:
    (records,) = partitions(log).values()
    drive = driven(data.draw(cuts(records)), plan_of(policy_text))
    expected = final_scores_all(log, policy_text, NOW_MS)
    actual = messages_of(drive.engine)
    assert {
        account: {name: rounded(score["value"]) for name, score in message["scores"].items()}
        for account, message in actual.items()
    } == {
        account: {name: rounded(score.value) for name, score in of_account.scores.items()}
        for account, of_account in expected.items()
    }


def rounded(value: float | None) -> float | None:
    """Return a score without rounding errors; None where there is none."""
    return None if value is None else round(value, 6)
