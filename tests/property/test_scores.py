"""Final scores and outcomes are the oracle's, for any input, any cut into batches and any processing mode."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stream.engine.engine import Mode
from tests.driving.engine import CATCHING_UP, assert_same, cuts, driven, partitions, plan_of, plausible_logs, scores_of
from tests.oracle.engine import AccountScore, Record, final_scores, outcomes
from tests.strategies.policies import NOW_MS, policies


@given(st.data(), plausible_logs(), policies(), st.sampled_from(CATCHING_UP))
def test_final_scores_and_outcomes_are_the_oracles(
    data: st.DataObject, log: list[Record], policy_text: str, catching_up: Mode
) -> None:
    plan = plan_of(policy_text)
    scores: dict[str, AccountScore] = {}
    counted: Counter[tuple[str, str]] = Counter()
    for records in partitions(log).values():
        drive = driven(data.draw(cuts(records, (Mode.HEAD, catching_up))), plan)
        scores |= scores_of(drive.engine)
        counted += drive.outcomes
        assert +drive.outcomes == +drive.engine.settled
    assert_same(scores, final_scores(log, policy_text, NOW_MS))
    assert counted == outcomes(log, policy_text, NOW_MS)
    assert counted.total() == len(log)
