"""What must hold for any input: of the oracle, and of the strategies that it is used with."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.engine import Record, boundary_scores, final_scores, outcomes
from tests.strategies.effort import examples
from tests.strategies.policies import (
    NOW_MS,
    SOURCES,
    Sent,
    invalid_values,
    log_of,
    logs,
    policies,
    rearranged,
    sent_records,
)

QUICK = settings(max_examples=examples(30), deadline=None)
POLICY = """
name = "p"
[measures.m]
source = "product-usage"
stat = "count"
window = "1d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 1 }
weight = 1
[scores.health]
bands = [{ name = "all", from = 0 }]
"""


@QUICK
@given(logs(), policies())
def test_every_record_has_one_outcome(records: list[Record], policy_text: str) -> None:
    counted = outcomes(records, policy_text, NOW_MS)
    by_source: Counter[str] = Counter()
    for (source, _), number in counted.items():
        by_source[source] += number
    assert by_source == Counter(record.source for record in records)
    for score in final_scores(records, policy_text, NOW_MS).values():
        assert sum(contribution for *_, contribution in score.factors) == pytest.approx(score.value or 0.0, abs=1e-9)


@QUICK
@given(st.data(), sent_records(), policies(never_late=True))
def test_neither_order_nor_duplicates_matter_while_nothing_is_late(
    data: st.DataObject, sent: list[Sent], policy_text: str
) -> None:
    before = final_scores(log_of(sent), policy_text, NOW_MS)
    again = data.draw(rearranged(sent))
    assert final_scores(again, policy_text, NOW_MS) == before
    assert not any(outcome == "late" for _, outcome in outcomes(again, policy_text, NOW_MS))


@QUICK
@given(
    logs(delays_ms=(0,), partitions=1, duplicates=False, backdated=False, max_events=20),
    policies(never_late=True, max_measures=2),
)
def test_in_order_a_boundary_shows_the_whole_log_as_of_the_boundary(records: list[Record], policy_text: str) -> None:
    boundaries = boundary_scores(records, policy_text, NOW_MS)
    for (_, boundary_ms), scores in list(boundaries.items())[:: max(1, len(boundaries) // 10)]:
        # Final scores know the last profile, whenever it came: one that is deleted later ends its account.
        known = [record for record in records if record.source != "accounts" or record.timestamp_ms <= boundary_ms]
        assert final_scores(known, policy_text, NOW_MS, boundary_ms) == scores


@QUICK
@given(logs(invalid=False, duplicates=False, backdated=False, delays_ms=(0,)), policies())
def test_valid_events_are_applied(records: list[Record], policy_text: str) -> None:
    assert {outcome for _, outcome in outcomes(records, policy_text, NOW_MS)} == {"applied"}


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=examples(100), deadline=None)
@given(data=st.data())
def test_invalid_values_are_rejected(source: str, data: st.DataObject) -> None:
    value = data.draw(invalid_values(source))
    assert outcomes([Record(source, 0, 0, NOW_MS, b"acme", value)], POLICY, NOW_MS) == {(source, "rejected"): 1}
