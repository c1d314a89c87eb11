"""The reconciler of one partition: what is complete up to which offset, when it expires, and from where it is read."""

from __future__ import annotations

import msgspec
import pytest

from schemas.codecs import encode
from schemas.outputs import Alert
from schemas.sources import BUILT_IN
from schemas.topics import ALERTS, CHANGES
from stream.engine.engine import Engine, Mode
from stream.recovery.reconciler import Reconciler, start_of
from tests.driving.alert_histories import DAY, START
from tests.driving.generations import Generations, saved, tail_of

LATER_MS = START + 10 * DAY
GHOST = Alert("i", "f", "ghost", "r", "warning", "firing", LATER_MS, 1.0, "poor", "ghost is low", {}, {})
ENDS = [3] * len(BUILT_IN.inputs)


def loaded(scenario: Generations) -> Reconciler:
    """A change and an alert of a time that the scenario's engine has not reached."""
    change = scenario.drive.changes[-1]
    ahead = msgspec.structs.replace(change, to=80.0, revision=change.revision + 9, time=LATER_MS)
    reconciler = Reconciler(
        {ALERTS: tail_of([encode(GHOST)], end=7), CHANGES: tail_of([encode(ahead)], end=42)},
    )
    reconciler.load(scenario.drive.engine)
    return reconciler


def test_a_topic_without_records_is_complete_at_once() -> None:
    reconciler = Reconciler({ALERTS: tail_of([], end=7), CHANGES: tail_of([b"no change"], end=42)})
    assert not reconciler
    assert reconciler.complete() == {ALERTS: 7, CHANGES: 42}
    assert Reconciler().complete() == {ALERTS: 0, CHANGES: 0}


def test_a_topic_is_complete_when_none_of_its_alerts_or_changes_wait() -> None:
    scenario = saved()
    reconciler = loaded(scenario)
    assert reconciler.complete() == {}
    scenario.drive.engine.publisher.expire()
    assert reconciler.complete() == {CHANGES: 42}
    scenario.pass_to(11)
    assert reconciler
    reconciler.reconcile(scenario.drive.engine, Mode.HEAD, ends_of_sources=None, now_ms=0)
    assert reconciler.complete() == {ALERTS: 7, CHANGES: 42}
    assert not reconciler


def test_what_is_never_reached_expires_when_all_records_of_the_beginning_are_applied_and_time_has_passed() -> None:
    scenario = saved()
    engine, reconciler = scenario.drive.engine, loaded(scenario)

    def expires(ends: list[int] | None, now_ms: int) -> bool:
        return reconciler.reconcile(engine, Mode.HEAD, ends_of_sources=ends, now_ms=now_ms) is not None

    assert not expires(None, 0), "where the sources end is not known"
    assert not expires(ENDS, 0), "records that were there are not applied"
    for source in BUILT_IN.inputs[:-1]:
        engine.position[source] = 3
        assert not expires(ENDS, 0)
    engine.position[BUILT_IN.inputs[-1]] = 3
    assert not expires(ENDS, LATER_MS), "the worker before had passed this time"
    assert expires([1_000] * len(BUILT_IN.inputs), START), "what came later is not waited for, nor is the future"
    assert not reconciler
    scenario.drive.flush()
    last = scenario.drive.changes[-1]
    assert (last.from_, last.to) == (80, 30)


def test_what_is_never_reached_expires_when_nothing_comes_any_more() -> None:
    scenario = saved()
    reconciler = loaded(scenario)
    effects = reconciler.reconcile(scenario.drive.engine, Mode.HEAD, ends_of_sources=None, now_ms=0, idle=True)
    assert effects is not None
    assert [sent.key for sent in effects.alerts] == [b"ghost"]
    assert not reconciler
    assert reconciler.reconcile(scenario.drive.engine, Mode.HEAD, ends_of_sources=None, now_ms=0, idle=True) is None


@pytest.mark.parametrize("mode", [Mode.CONFLATED, Mode.EXACT])
def test_nothing_is_reconciled_while_conflation_leaves_alerts_without_a_state(mode: Mode) -> None:
    scenario = saved()
    reconciler = loaded(scenario)
    effects = reconciler.reconcile(scenario.drive.engine, mode, ends_of_sources=None, now_ms=0, idle=True)
    assert (effects is None) == (mode is Mode.CONFLATED)


def test_nothing_is_reconciled_before_the_first_event() -> None:
    scenario = Generations("")
    engine = Engine(scenario.plan)
    reconciler = Reconciler({ALERTS: tail_of([encode(GHOST)], end=7)})
    assert reconciler.reconcile(engine, Mode.HEAD, ends_of_sources=None, now_ms=0, idle=True) is None
    assert reconciler


@pytest.mark.parametrize(
    ("committed", "alerts", "changes"),
    [
        ({ALERTS: 3, CHANGES: 4}, 3, 4),
        ({}, 0, 10),  # which changes the state knows can not be decided
        ({ALERTS: 500, CHANGES: 900}, 10, 10),  # the topics were deleted and created again
    ],
)
def test_a_topic_is_read_from_the_offset_of_the_last_commit(
    committed: dict[str, int], alerts: int, changes: int
) -> None:
    assert (start_of(ALERTS, committed, 10), start_of(CHANGES, committed, 10)) == (alerts, changes)
