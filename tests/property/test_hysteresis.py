"""Bands with `leave` and `dwell` are the oracle's, in every mode, at every window boundary and across restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.engine.engine import Engine, Mode
from tests.driving.engine import CATCHING_UP, Drive, cuts, driven, partitions, plan_of, plausible_logs
from tests.driving.scores import Message, WatchedScores, assert_same_scores, messages_of, restarted
from tests.oracle.engine import boundary_scores_all, final_scores_all
from tests.strategies.bands import RESTLESS, restless_policies
from tests.strategies.effort import examples
from tests.strategies.policies import NOW_MS

if TYPE_CHECKING:
    from tests.oracle.engine import Record


@settings(max_examples=examples(30))
@given(
    st.data(),
    plausible_logs(partitions=1, **RESTLESS),
    restless_policies(),
    st.sampled_from(CATCHING_UP),
    st.booleans(),
)
def test_final_bands_in_every_mode_and_across_restarts(
    data: st.DataObject, log: list[Record], policy_text: str, catching_up: Mode, restarts: bool
) -> None:
    (records,) = partitions(log).values()
    drive = Drive(Engine(plan_of(policy_text)))
    for step in data.draw(cuts(records, (Mode.HEAD, catching_up))):
        drive.turn_to(step.mode)
        drive.take(step.records)
        if step.flush:
            drive = restarted(drive, policy_text) if restarts else drive
            drive.flush()
    drive.turn_to(Mode.HEAD)
    drive.flush()
    assert_same_scores(messages_of(drive.engine), final_scores_all(log, policy_text, NOW_MS), policy_text)


@settings(max_examples=examples(40))
@given(st.data(), plausible_logs(**RESTLESS), restless_policies(), st.sampled_from((Mode.HEAD, Mode.EXACT)))
def test_bands_at_every_boundary(data: st.DataObject, log: list[Record], policy_text: str, mode: Mode) -> None:
    plan = plan_of(policy_text)
    expected = boundary_scores_all(log, policy_text, NOW_MS)
    for partition, records in partitions(log).items():
        engine = driven(data.draw(cuts(records, (mode,))), plan, kind=WatchedScores).engine
        assert isinstance(engine, WatchedScores)
        last: dict[str, Message] = {}
        for (boundary_partition, boundary_ms), scores in sorted(expected.items()):
            if boundary_partition == partition:
                # The engine skips boundaries at which nothing can change: the scores of the last one apply.
                last = engine.messages.get(boundary_ms, last)
                assert_same_scores(last, scores, policy_text, boundary_ms)
