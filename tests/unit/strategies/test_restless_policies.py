"""Restless policies: every drawn policy is valid, and the oracle can score it."""

from __future__ import annotations

import tomllib

from hypothesis import given, settings

from tests.oracle.engine import Record, boundary_scores_all, final_scores_all, read_policy
from tests.strategies.bands import RESTLESS, restless_policies
from tests.strategies.policies import NOW_MS, logs
from tests.strategies.rich_policies import start_of


@settings(max_examples=30, deadline=None)
@given(restless_policies())
def test_every_drawn_policy_is_valid(policy_text: str) -> None:
    document = tomllib.loads(policy_text)
    assert read_policy(policy_text).holds_bands
    for score in document["scores"].values():
        *others, lowest = score["bands"]
        bare = "model" in score and "map" not in score
        assert "leave" not in lowest
        assert lowest["from"] == 0 or bare
        assert all(band.get("leave", start_of(band)) <= start_of(band) for band in others)
        assert all(bare or band.get("leave", 0) >= 0 for band in others)
        assert (score.get("weights") or score["impacts"]).keys() == document["measures"].keys()
        starts = list(score.get("segments", {}).get("one", {}).get("bands", {}).values())
        assert starts == sorted(starts, reverse=True)


@settings(max_examples=30, deadline=None)
@given(logs(**RESTLESS), restless_policies())
def test_the_oracle_scores_every_drawn_policy(log: list[Record], policy_text: str) -> None:
    names = {band["name"] for score in tomllib.loads(policy_text)["scores"].values() for band in score["bands"]}
    boundaries = boundary_scores_all(log, policy_text, NOW_MS).values()
    for accounts in (final_scores_all(log, policy_text, NOW_MS), *boundaries):
        assert {score.band for account in accounts.values() for score in account.scores.values()} <= {*names, None}
