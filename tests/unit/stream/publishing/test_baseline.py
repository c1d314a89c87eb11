"""What readers of score changes heard before a crash, and how the next life goes on from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from schemas.codecs import encode
from stream.engine.engine import Mode
from stream.publishing.baseline import Heard
from tests.driving.alert_histories import DAY, POLICY, START
from tests.driving.engine import plan_of
from tests.driving.generations import Generations, saved, told_at_a_time
from tests.faults.events import MOOD

if TYPE_CHECKING:
    from tests.oracle.engine import Record


def test_the_same_story_is_not_told_again() -> None:
    scenario = saved()
    records = told_at_a_time(scenario, 3)
    before = scenario.heard
    assert before == [(0, 30), (30, 40), (40, 50), (50, 60)]
    scenario.crash()
    scenario.drive.take(records[:1])
    scenario.drive.take(records[1:2])
    assert scenario.waits
    assert scenario.heard == before, "it has not come as far yet"
    scenario.drive.take(records[2:])
    assert not scenario.waits
    assert scenario.heard == before
    scenario.use(0.3, 1)
    assert scenario.heard[-1] == (60, 70)
    assert [(factor.before, factor.after) for factor in scenario.drive.changes[-1].factors][:1] == [(60, 70)]


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.CONFLATED])
def test_what_rose_and_fell_within_one_step_of_the_next_life_is_taken_back(mode: Mode) -> None:
    scenario = Generations("", policy=MOOD.replace("{", "{{").replace("}", "}}"))
    scenario.take(0.1, "surveys", kind="nps", score=8)
    scenario.commit()
    bad = scenario.record(0.2, "surveys", kind="nps", score=2)
    scenario.drive.take([bad])
    assert scenario.heard == [(0, 80), (80, 20)]
    scenario.crash(mode=mode)
    scenario.drive.take([bad, scenario.record(0.3, "surveys", kind="nps", score=8)])
    scenario.drive.turn_to(Mode.HEAD)
    scenario.drive.flush()
    (last,) = scenario.drive.changes[2:]
    assert (last.from_, last.to, last.band_from, last.band_to, last.cause) == (20, 80, "bad", "good", "event")
    assert [(factor.measure, factor.delta) for factor in last.factors][:1] == [("mood", 60)]


def test_what_a_half_written_commit_had_saved_goes_on_at_once() -> None:
    scenario = saved()
    known = scenario.known
    scenario.use(0.2, 3)
    scenario.commit()
    scenario.known = known
    scenario.crash()
    assert not scenario.waits
    scenario.use(0.3, 1)
    assert scenario.heard == [(0, 30), (30, 60), (60, 70)]


def test_a_revision_that_grew_by_something_else_is_not_as_far() -> None:
    """The next life comes by another event first: as many events, but not yet at the same moment."""
    scenario = saved()
    last = scenario.record(1.5)
    scenario.drive.take([last])
    assert scenario.heard == [(0, 30), (30, 0), (0, 10)]
    scenario.crash()
    scenario.take(1.2, "support-tickets")
    assert scenario.waits
    scenario.drive.take([last])
    assert not scenario.waits
    assert scenario.heard == [(0, 30), (30, 0), (0, 10)]


def test_an_account_whose_first_change_was_not_saved() -> None:
    scenario = Generations("")
    records = told_at_a_time(scenario, 2)
    scenario.crash()
    scenario.drive.take(records)
    scenario.use(0.3, 1)
    assert scenario.heard == [(0, 10), (10, 20), (20, 30)]


def test_what_was_told_under_another_policy_goes_on_with_that_as_its_cause() -> None:
    scenario = saved()
    records = told_at_a_time(scenario, 2)
    other = POLICY.replace("hundred_at = 10", "hundred_at = 20").replace("measures.tickets", "measures.other")
    scenario.crash(plan_of(other.format(rules="", window="1d")))
    scenario.drive.take(records)
    last = scenario.drive.changes[-1]
    assert (last.from_, last.to, last.cause) == (50, 25, "policy")
    assert {factor.measure: (factor.before, factor.after) for factor in last.factors}["usage"] == (50, 25)
    assert last.band_from == "fair"


def test_a_score_or_a_band_that_is_gone_and_what_is_no_change_are_left_out() -> None:
    scenario = saved()
    (first,) = scenario.drive.changes
    gone = msgspec.structs.replace(first, score="gone", to=1.0)
    renamed = msgspec.structs.replace(first, band_to="purple", to=20.0)
    engine = scenario.drive.engine
    engine.publisher.hear(Heard([b"nothing", None, encode(gone), encode(renamed)], 4), engine.as_of)
    scenario.drive.flush()
    last = scenario.drive.changes[-1]
    assert (last.from_, last.to, last.band_from, last.band_to) == (20, 30, None, "fair")


def override(scenario: Generations, day: float, **fields: Any) -> Record:
    given = {"kind": "override", "score": 10, "reason": "sponsor left", "expires_at": START + 5 * DAY, **fields}
    return scenario.record(day, "controls", **given)


@pytest.mark.parametrize("later", [None, "clear_override", "override"])
def test_an_override_that_was_told_is_told_again_only_where_it_is_another(later: str | None) -> None:
    scenario = saved()
    records = [override(scenario, 0.2)]
    scenario.drive.take(records)
    assert [change.cause for change in scenario.drive.changes] == ["event", "override"]
    if later is not None:
        records.append(override(scenario, 0.3, kind=later, score=20))
    scenario.crash()
    scenario.drive.take(records)
    told = [change.override and change.override.score for change in scenario.drive.changes[2:]]
    assert told == {None: [], "clear_override": [None], "override": [20]}[later]
    scenario.use(0.4, 1)
    assert scenario.drive.changes[-1].cause == "event"


def test_the_end_of_an_override_is_told_once() -> None:
    scenario = Generations("")
    scenario.use(0.1, 3)
    scenario.drive.take([override(scenario, 0.2)])
    scenario.commit()
    end = [override(scenario, 0.3, kind="clear_override")]
    scenario.drive.take(end)
    scenario.crash()
    scenario.drive.take(end)
    assert [change.override is None for change in scenario.drive.changes] == [True, False, True]
