"""Policies that use all of the language can be read and scored by the oracle, and what it says adds up."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.engine import Record, boundary_scores_all, final_scores, final_scores_all, outcomes
from tests.strategies.events import encoded
from tests.strategies.policies import (
    ALL_SOURCES,
    NOW_MS,
    RICH,
    Sent,
    events,
    invalid_values,
    log_of,
    logs,
    policies,
    rearranged,
    sent_records,
)
from tests.strategies.rich_policies import rich_policies, start_of

QUICK = settings(max_examples=30, deadline=None)
POLICY = """
name = "p"
[measures.m]
source = "signals"
stat = "count"
window = "1d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 1 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "attention", from = 0 }]
"""


def named_by(score: dict[str, Any], measures: dict[str, Any]) -> set[str]:
    """Return the measures that a score's table, or one of its segments, is made of."""
    if "use" in score:
        return set()
    grouped = [group["measures"] for group in score.get("groups", {}).values()]
    own = [score[member] for member in ("weights", "impacts") if member in score] or grouped
    if not own and "bands" in score and isinstance(score["bands"], list):
        own = [{name: 1 for name, table in measures.items() if "weight" in table}]
    return {name for member in own for name in member}


@QUICK
@given(rich_policies())
def test_what_is_drawn_is_whole(policy_text: str) -> None:
    document = tomllib.loads(policy_text)
    measures, scores = document["measures"], document["scores"]
    assert any(table.get("source", "accounts") != "accounts" for table in measures.values())
    assert set().union(*(named_by(score, measures) for score in scores.values())) == set(measures)
    for score in scores.values():
        for table in (score, *score.get("segments", {}).values()):
            if "model" not in score:
                assert all("normalise" in measures[name] for name in named_by(table, measures))
            assert named_by(table, measures) <= set(measures)
        assert set(score.get("segments", {})) <= set(document.get("segments", {}))
        bare = "model" in score and "map" not in score
        *others, lowest = score["bands"]
        assert lowest["from"] == 0 or bare
        assert "leave" not in lowest
        assert all(bare or band.get("leave", 0) >= 0 for band in others)
        assert all(band.get("leave", start_of(band)) <= start_of(band) for band in others)


@QUICK
@given(logs(**RICH), rich_policies())
def test_scores_are_the_sum_of_what_they_are_made_of(log: list[Record], policy_text: str) -> None:
    document = tomllib.loads(policy_text)
    scores_by_account = final_scores_all(log, policy_text, NOW_MS)
    for account in scores_by_account.values():
        assert account.segment is None or account.segment in document["segments"]
        assert list(account.scores) == list(document["scores"])
        for name, score in account.scores.items():
            if score.value is None:
                assert (score.band, {factor[-1] for factor in score.factors}) == (None, {0.0})
                continue
            parts = [factor[-1] for factor in score.factors] + list(score.extras.values())
            close = 1e-9 * max(1.0, *map(abs, parts))
            assert sum(parts) == pytest.approx(score.value, abs=close)
            nominal = [*score.nominal.values(), *score.extras.values(), score.redistribution]
            assert sum(nominal) == pytest.approx(score.value, abs=close)
            assert 0 <= score.value <= 100 or "base" not in score.extras
            assert score.band in [band["name"] for band in document["scores"][name]["bands"]]
    first = {account: next(iter(scores.scores.values())).value for account, scores in scores_by_account.items()}
    assert {account: score.value for account, score in final_scores(log, policy_text, NOW_MS).items()} == first
    counted = outcomes(log, policy_text, NOW_MS)
    assert counted.total() == len(log)


@QUICK
@given(logs(**RICH), rich_policies())
def test_what_keeps_bands_changes_nothing_else(log: list[Record], policy_text: str) -> None:
    plain_text = re.sub(r', "leave" = [^ ,}]+|\ndwell = .*', "", policy_text)
    assert "leave" not in plain_text
    assert "dwell" not in plain_text
    plain = final_scores_all(log, plain_text, NOW_MS)
    for account_id, account in final_scores_all(log, policy_text, NOW_MS).items():
        for name, score in account.scores.items():
            usual = plain[account_id].scores[name]
            assert replace(score, band=usual.band, alert=usual.alert) == usual


@settings(max_examples=10, deadline=None)
@given(logs(partitions=1, max_events=15, **RICH), rich_policies(max_measures=2))
def test_boundaries_are_scored(log: list[Record], policy_text: str) -> None:
    for (partition, _), accounts in boundary_scores_all(log, policy_text, NOW_MS).items():
        assert partition == 0
        assert accounts


@QUICK
@given(st.data(), sent_records(partitions=1, **RICH), rich_policies(never_late=True, kept_bands=False))
def test_neither_order_nor_duplicates_matter_while_nothing_is_late(
    data: st.DataObject, sent: list[Sent], policy_text: str
) -> None:
    again = data.draw(rearranged(sent))
    expected = final_scores_all(log_of(sent), policy_text, NOW_MS)
    assert final_scores_all(again, policy_text, NOW_MS) == expected
    assert not any(outcome == "late" for _, outcome in outcomes(again, policy_text, NOW_MS))


@QUICK
@given(st.data())
def test_only_deletions_keep_their_timestamp_when_rearranged(data: st.DataObject) -> None:
    deletions = [Sent("accounts", 0, 9_000, b"a", None, 5_000), Sent("accounts", 0, 8_000, b"b", None)]
    records = data.draw(rearranged([*deletions, Sent("billing", 0, 7_000, b"a", b"{}", 3_000)]))
    assert {record.key: record.timestamp_ms for record in records if record.value is None} == {b"a": 5_000, b"b": 8_000}
    assert all(record.timestamp_ms < len(records) for record in records if record.value is not None)


@QUICK
@given(logs(sources=ALL_SOURCES), policies(sources=ALL_SOURCES))
def test_the_plain_strategy_may_use_the_new_sources(log: list[Record], policy_text: str) -> None:
    by_source: Counter[str] = Counter()
    for (source, _), number in outcomes(log, policy_text, NOW_MS).items():
        by_source[source] += number
    assert by_source == Counter(record.source for record in log)
    final_scores(log, policy_text, NOW_MS)


@pytest.mark.parametrize("source", ["controls", "signals"])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_valid_events_are_applied_and_invalid_ones_rejected(source: str, data: st.DataObject) -> None:
    value = data.draw(events(source, "acme", NOW_MS, "1").flatmap(encoded))
    assert outcomes([Record(source, 0, 0, NOW_MS, b"acme", value)], POLICY, NOW_MS) == {(source, "applied"): 1}
    spoilt = data.draw(invalid_values(source))
    assert outcomes([Record(source, 0, 0, NOW_MS, b"acme", spoilt)], POLICY, NOW_MS) == {(source, "rejected"): 1}
