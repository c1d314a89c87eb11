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
from tests.driving.generations import Lives, saved, told_at_a_time
from tests.faults.events import MOOD

if TYPE_CHECKING:
    from tests.oracle.engine import Record


def test_the_same_story_is_not_told_again() -> None:
    story = saved()
    records = told_at_a_time(story, 3)
    before = story.heard
    assert before == [(0, 30), (30, 40), (40, 50), (50, 60)]
    story.crash()
    story.drive.take(records[:1])
    story.drive.take(records[1:2])
    assert story.waits
    assert story.heard == before, "it has not come as far yet"
    story.drive.take(records[2:])
    assert not story.waits
    assert story.heard == before
    story.use(0.3, 1)
    assert story.heard[-1] == (60, 70)
    assert [(factor.before, factor.after) for factor in story.drive.changes[-1].factors][:1] == [(60, 70)]


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.CONFLATED])
def test_what_rose_and_fell_within_one_step_of_the_next_life_is_taken_back(mode: Mode) -> None:
    story = Lives("", policy=MOOD.replace("{", "{{").replace("}", "}}"))
    story.take(0.1, "surveys", kind="nps", score=8)
    story.commit()
    bad = story.record(0.2, "surveys", kind="nps", score=2)
    story.drive.take([bad])
    assert story.heard == [(0, 80), (80, 20)]
    story.crash(mode=mode)
    story.drive.take([bad, story.record(0.3, "surveys", kind="nps", score=8)])
    story.drive.turn_to(Mode.HEAD)
    story.drive.flush()
    (last,) = story.drive.changes[2:]
    assert (last.from_, last.to, last.band_from, last.band_to, last.cause) == (20, 80, "bad", "good", "event")
    assert [(factor.measure, factor.delta) for factor in last.factors][:1] == [("mood", 60)]


def test_what_a_half_written_commit_had_saved_goes_on_at_once() -> None:
    story = saved()
    known = story.known
    story.use(0.2, 3)
    story.commit()
    story.known = known
    story.crash()
    assert not story.waits
    story.use(0.3, 1)
    assert story.heard == [(0, 30), (30, 60), (60, 70)]


def test_a_revision_that_grew_by_something_else_is_not_as_far() -> None:
    """The next life comes by another event first: as many events, but not yet at the same moment."""
    story = saved()
    last = story.record(1.5)
    story.drive.take([last])
    assert story.heard == [(0, 30), (30, 0), (0, 10)]
    story.crash()
    story.take(1.2, "support-tickets")
    assert story.waits
    story.drive.take([last])
    assert not story.waits
    assert story.heard == [(0, 30), (30, 0), (0, 10)]


def test_an_account_whose_first_change_was_not_saved() -> None:
    story = Lives("")
    records = told_at_a_time(story, 2)
    story.crash()
    story.drive.take(records)
    story.use(0.3, 1)
    assert story.heard == [(0, 10), (10, 20), (20, 30)]


def test_what_was_told_under_another_policy_goes_on_with_that_as_its_cause() -> None:
    story = saved()
    records = told_at_a_time(story, 2)
    other = POLICY.replace("hundred_at = 10", "hundred_at = 20").replace("measures.tickets", "measures.other")
    story.crash(plan_of(other.format(rules="", window="1d")))
    story.drive.take(records)
    last = story.drive.changes[-1]
    assert (last.from_, last.to, last.cause) == (50, 25, "policy")
    assert {factor.measure: (factor.before, factor.after) for factor in last.factors}["usage"] == (50, 25)
    assert last.band_from == "fair"


def test_a_score_or_a_band_that_is_gone_and_what_is_no_change_are_left_out() -> None:
    story = saved()
    (first,) = story.drive.changes
    gone = msgspec.structs.replace(first, score="gone", to=1.0)
    renamed = msgspec.structs.replace(first, band_to="purple", to=20.0)
    engine = story.drive.engine
    engine.publisher.hear(Heard([b"nothing", None, encode(gone), encode(renamed)], 4), engine.as_of)
    story.drive.flush()
    last = story.drive.changes[-1]
    assert (last.from_, last.to, last.band_from, last.band_to) == (20, 30, None, "fair")


def override(story: Lives, day: float, **fields: Any) -> Record:
    given = {"kind": "override", "score": 10, "reason": "sponsor left", "expires_at": START + 5 * DAY, **fields}
    return story.record(day, "controls", **given)


@pytest.mark.parametrize("later", [None, "clear_override", "override"])
def test_an_override_that_was_told_is_told_again_only_where_it_is_another(later: str | None) -> None:
    story = saved()
    records = [override(story, 0.2)]
    story.drive.take(records)
    assert [change.cause for change in story.drive.changes] == ["event", "override"]
    if later is not None:
        records.append(override(story, 0.3, kind=later, score=20))
    story.crash()
    story.drive.take(records)
    told = [change.override and change.override.score for change in story.drive.changes[2:]]
    assert told == {None: [], "clear_override": [None], "override": [20]}[later]
    story.use(0.4, 1)
    assert story.drive.changes[-1].cause == "event"


def test_the_end_of_an_override_is_told_once() -> None:
    story = Lives("")
    story.use(0.1, 3)
    story.drive.take([override(story, 0.2)])
    story.commit()
    end = [override(story, 0.3, kind="clear_override")]
    story.drive.take(end)
    story.crash()
    story.drive.take(end)
    assert [change.override is None for change in story.drive.changes] == [True, False, True]
