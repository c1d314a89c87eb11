"""The alerts open at every window boundary are the oracle's: in every mode, across restarts and after crashes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.engine.engine import Mode
from tests.driving.alerts import Observed, Reader, WatchedAlerts, alerts_in, assert_open_at_boundaries
from tests.driving.crashes import Crashing, live_through
from tests.driving.engine import Cut, cuts, open_episodes, partitions, plan_of
from tests.oracle.alerts import alerts_at_boundaries, alerts_on_arrival, snoozed_at
from tests.strategies.alerts import alerting_cases
from tests.strategies.effort import examples
from tests.strategies.policies import DAY_MS, HOUR_MS, NOW_MS

if TYPE_CHECKING:
    from stream.engine.engine import Engine
    from tests.oracle.engine import Record

Case = tuple[str, list["Record"]]

MODES = ((Mode.HEAD,), (Mode.EXACT,), (Mode.HEAD, Mode.CONFLATED), tuple(Mode))
LATER_MS = (HOUR_MS, 5 * HOUR_MS, DAY_MS, 3 * DAY_MS, 10 * DAY_MS)


def observed(text: str, steps: list[Cut], *, restarts: bool = False) -> Observed:
    """Process all steps up to the head; with `restarts`, restart at each step that flushes."""
    drive = Observed(WatchedAlerts(plan_of(text)))
    for step in steps:
        drive.turn_to(step.mode)
        drive.take(step.records)
        if step.flush:
            drive = drive.restarted() if restarts else drive
            drive.flush()
    drive.turn_to(Mode.HEAD)
    drive.flush()
    return drive


def assert_all_boundaries(data: st.DataObject, drive: Observed, case: Case) -> None:
    """Advance the clock over more window boundaries, and compare the alerts open at each boundary."""
    text, log = case
    if drive.engine.as_of is None:
        return
    later_ms = drive.engine.as_of + data.draw(st.sampled_from(LATER_MS))
    for now_ms in data.draw(st.sampled_from(([later_ms], range(drive.engine.as_of, later_ms, HOUR_MS * 7)))):
        drive.tick(now_ms)
    assert_open_at_boundaries(drive.engine, alerts_at_boundaries(log, text, NOW_MS, drive.engine.as_of))


@settings(max_examples=examples(30))
@given(st.data(), alerting_cases(), st.sampled_from(MODES), st.booleans())
def test_open_at_every_boundary(data: st.DataObject, case: Case, modes: tuple[Mode, ...], restarts: bool) -> None:
    text, log = case
    for records in partitions(log).values():
        assert_all_boundaries(data, observed(text, data.draw(cuts(records, modes)), restarts=restarts), case)


@settings(max_examples=examples(20))
@given(st.data(), alerting_cases(), st.booleans())
def test_conditions_that_still_hold_fire_when_catching_up_ends(data: st.DataObject, case: Case, restarts: bool) -> None:
    text, log = case
    expected = alerts_on_arrival(log, text, NOW_MS)
    for partition, records in partitions(log).items():
        drive = observed(text, data.draw(cuts(records, (Mode.CONFLATED,))), restarts=restarts)
        assert drive.engine.reader.episodes() == expected.get(partition, frozenset())
        assert len(drive.engine.reader.contents) == len(drive.engine.reader.open)


@settings(max_examples=examples(40))
@given(st.data(), alerting_cases(max_events=25), st.sampled_from(MODES))
def test_readers_know_what_is_open_after_crashes(data: st.DataObject, case: Case, modes: tuple[Mode, ...]) -> None:
    """Also after a crash during a commit, if alerts were published that no later generation computes again."""
    text, log = case
    for records in partitions(log).values():
        worker = Crashing(plan_of(text), records)
        live_through(data, worker, modes)
        engine, reader = worker.drive.engine, Reader(repeats=True)
        if engine.as_of is not None:
            published = alerts_in(worker.published)
            reader.read(published)
            assert len(reader.contents) == len(published), "no alert is published twice"
            assert reader.episodes() == open_episodes(engine) | stalled_in(engine)


@settings(max_examples=examples(20))
@given(st.data(), alerting_cases(max_events=25), st.sampled_from(MODES))
def test_open_after_crashes(data: st.DataObject, case: Case, modes: tuple[Mode, ...]) -> None:
    """Crashes between commits only: a partial commit at a boundary may delay alerts that wait for boundaries."""
    text, log = case
    for records in partitions(log).values():
        worker = Crashing(plan_of(text), records)
        live_through(data, worker, modes, whole=True)
        engine = worker.drive.engine
        if engine.as_of is None:
            continue
        boundary_ms = engine.plan.boundaries_between(engine.as_of, engine.as_of + DAY_MS)[0]
        after = engine.tick(boundary_ms)
        reader = Reader(repeats=True)
        reader.read([*alerts_in(worker.published), *(sent.value for sent in after.alerts)])
        assert reader.episodes() == alerts_at_boundaries(log, text, NOW_MS, boundary_ms)[0, boundary_ms]


def stalled_in(engine: Engine) -> set[tuple[str, str]]:
    """The alerts of stalled sources that are open."""
    return {("", f"stalled:{source}") for source in engine.idle_source_alerts.open}


# ---------------------------------------------------------------------------------------------------------------------
# Snoozes and acknowledgements


@settings(max_examples=examples(20))
@given(st.data(), alerting_cases(words=True, in_order=True), st.sampled_from(MODES), st.booleans())
def test_snoozes_at_every_boundary_are_the_oracles(
    data: st.DataObject, case: Case, modes: tuple[Mode, ...], restarts: bool
) -> None:
    text, log = case
    for records in partitions(log).values():
        drive = observed(text, data.draw(cuts(records, modes)), restarts=restarts)
        assert_all_boundaries(data, drive, case)
        for boundary_ms, alerts in drive.engine.open_at.items():
            snoozed = snoozed_at(records, text, NOW_MS, boundary_ms)
            assert {key: alerts[key].get("snoozed_until") for key in alerts if key[0]} == {
                key: snoozed.get(key) for key in alerts if key[0]
            }, boundary_ms


@settings(max_examples=examples(20))
@given(st.data(), alerting_cases(words=True, in_order=True), st.booleans())
def test_an_acknowledgement_applies_to_one_episode(data: st.DataObject, case: Case, restarts: bool) -> None:
    text, log = case
    for records in partitions(log).values():
        drive = Observed(WatchedAlerts(plan_of(text)))
        for record in records:
            before = dict(drive.engine.reader.open)
            drive.take([record])
            if restarts and data.draw(st.integers(0, 9)) == 9:
                drive = drive.restarted()
            for key, alert in drive.engine.reader.open.items():
                known = before.get(key)
                if known is None or known["starts_at"] != alert["starts_at"]:
                    continue
                control = acknowledged(record)
                if control is not None and control[:2] == key:
                    assert alert["acknowledged_by"] == control[2]
                    assert alert["acknowledged_at"] == control[3]
                else:
                    assert alert.get("acknowledged_by") == known.get("acknowledged_by")
                    assert alert.get("acknowledged_at") == known.get("acknowledged_at")


def acknowledged(record: Record) -> tuple[str, str, str, int] | None:
    """Account, rule, who and when, of an acknowledgement."""
    assert record.value is not None
    document = json.loads(record.value)
    if record.source != "controls" or document["kind"] != "acknowledge":
        return None
    return document["account_id"], document["rule"], document["by"], document["time"]
