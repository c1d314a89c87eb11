"""Whatever events files have, the policy that is proposed of them is valid, scores them, and fits them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.files.data_check import warnings_of
from agents.files.replay import Reading, replay_files
from agents.proposal.candidates import SOURCES as MEASURED
from agents.proposal.policy_text import policy_text
from agents.proposal.proposal import NothingToProposeError, proposal_of, usual_proposal
from stream.engine.engine import Mode
from stream.explain.distribution import distribution_of
from stream.explain.selector import reading, select_score
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.strategies.effort import examples
from tests.strategies.events import ACCOUNTS, ALL_SOURCES, encoded, events, profiles, times_ms

OF_DATA = {"survey_scale", "shared_ids", "similar_ids"}
"""Kinds of warnings that are about the files and not about the policy."""


@st.composite
def records(draw: st.DrawFn) -> dict[str, list[bytes]]:
    """Lines of files, by the source that the file is called after."""
    lines: dict[str, list[bytes]] = {}
    for number in range(draw(st.integers(0, 40))):
        account, time_ms = draw(st.sampled_from(ACCOUNTS)), draw(times_ms())
        source = draw(st.sampled_from([*ALL_SOURCES, *MEASURED, "accounts"]))
        of_source: Any = profiles if source == "accounts" else events
        names = () if source == "accounts" else (source,)
        event = draw(of_source(*names, account, time_ms, f"e{number}"))
        lines.setdefault(source, []).append(draw(encoded(event)).replace(b"\n", b" "))
    return lines


@settings(deadline=None, max_examples=examples(40))
@given(records())
def test_a_proposed_policy_is_valid_scores_and_fits(lines: dict[str, list[bytes]]) -> None:
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{source}.jsonl" for source in lines]
        for path, of_source in zip(paths, lines.values(), strict=True):
            path.write_bytes(b"\n".join(of_source))
        try:
            proposal = proposal_of(paths, Reading())
        except NothingToProposeError:
            assert not set(lines) & set(MEASURED)
            return
        plan = compile_plan(parse_policy(policy_text("mine", proposal)))
        replay = replay_files(paths, plan, mode=Mode.CONFLATED)
        scored = replay.engine.score(replay.engine.accounts.alive())
        assert len(scored.scores[0].values)
        if proposal.measures[0].spread is None:
            return  # nothing varies: the thresholds are usual ones
        as_of_ms = replay.engine.as_of
        assert as_of_ms is not None
        assert as_of_ms == proposal.as_of_ms
        short = {"long_window"} if any(measure.short for measure in proposal.measures) else set()
        assert {each.kind for each in warnings_of(plan.policy, replay.records, as_of_ms)} <= OF_DATA | short
        selected = select_score(plan.policy)
        warnings = distribution_of(selected, reading(plan, selected, scored)).warnings
        assert [warning for warning in warnings if not warning.startswith("band ")] == []


@given(st.sets(st.sampled_from(MEASURED), min_size=1))
def test_without_files_any_sources_give_a_policy(sources: set[str]) -> None:
    policy = parse_policy(policy_text("mine", usual_proposal(sorted(sources))))
    assert {measure.source for measure in policy.measures} == sources
