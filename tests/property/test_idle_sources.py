"""Scores while sources are idle are the oracle's: as of the clock of each source, with `confidence` and the names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.engine.engine import Engine, Mode
from tests.driving.engine import CATCHING_UP, Drive, cuts, driven, partitions, plan_of
from tests.driving.scores import Message, WatchedScores, assert_same_scores, messages_of, restarted
from tests.oracle.alerts import alerts_at_boundaries, alerts_on_arrival
from tests.oracle.derived import sources_of
from tests.oracle.engine import boundary_scores_all, final_scores_all, read_policy
from tests.strategies.alerts import alerting_cases
from tests.strategies.effort import examples
from tests.strategies.policies import DAY_MS, NOW_MS

if TYPE_CHECKING:
    from tests.oracle.alerts import Episodes
    from tests.oracle.engine import AccountScores, Record

Case = tuple[str, list["Record"]]


def assert_confident(
    messages: dict[str, Message], expected: dict[str, AccountScores], episodes: Episodes, text: str
) -> None:
    """Fail unless messages name the idle sources, and each score has the confidence that the oracle computes."""
    policy = read_policy(text)
    sources = {rule.removeprefix("stalled:") for account, rule in episodes if not account}
    measures = {measure.name for measure in policy.measures if not sources.isdisjoint(sources_of(policy, measure))}
    for account, message in messages.items():
        assert message.get("stalled_sources", []) == sorted(sources), (account, message)
        for name, score in message["scores"].items():
            if sources:
                assert score["confidence"] == pytest.approx(expected[account].scores[name].confidence(measures))
            else:
                assert "confidence" not in score


@settings(max_examples=examples(25))
@given(st.data(), alerting_cases(), st.sampled_from((Mode.HEAD, Mode.EXACT)))
def test_scores_at_every_boundary(data: st.DataObject, case: Case, mode: Mode) -> None:
    text, log = case
    plan = plan_of(text)
    for records in partitions(log).values():
        drive = driven(data.draw(cuts(records, (mode,))), plan, kind=WatchedScores)
        engine = drive.engine
        assert isinstance(engine, WatchedScores)
        expected, episodes = boundary_scores_all(log, text, NOW_MS), alerts_at_boundaries(log, text, NOW_MS)
        for (partition, boundary_ms), scores in expected.items():
            if messages := engine.messages.get(boundary_ms):
                assert_same_scores(messages, scores, text, boundary_ms)
                assert_confident(messages, scores, episodes[partition, boundary_ms], text)


@settings(max_examples=examples(20))
@given(st.data(), alerting_cases(), st.sampled_from(CATCHING_UP), st.booleans())
def test_final_scores_in_every_mode_and_across_restarts(
    data: st.DataObject, case: Case, catching_up: Mode, restarts: bool
) -> None:
    text, log = case
    for partition, records in partitions(log).items():
        drive = Drive(Engine(plan_of(text)))
        for step in data.draw(cuts(records, (Mode.HEAD, catching_up))):
            drive.turn_to(step.mode)
            drive.take(step.records)
            if step.flush:
                drive = restarted(drive, text) if restarts else drive
                drive.flush()
        drive.turn_to(Mode.HEAD)
        drive.flush()
        expected = final_scores_all(log, text, NOW_MS)
        assert_same_scores(messages_of(drive.engine), expected, text)
        assert_confident(
            messages_of(drive.engine), expected, alerts_on_arrival(log, text, NOW_MS).get(partition, frozenset()), text
        )
        if drive.engine.as_of is not None:
            later_ms = drive.engine.as_of + data.draw(st.sampled_from((DAY_MS // 2, 2 * DAY_MS, 5 * DAY_MS)))
            drive.note(drive.engine.advance_to(later_ms))
            assert_same_scores(messages_of(drive.engine), final_scores_all(log, text, NOW_MS, later_ms), text)
