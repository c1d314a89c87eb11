"""Score changes that were published before a crash are the baseline of the next generation's changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from schemas.codecs import encode
from stream.engine.engine import Engine, Mode
from stream.publishing.baseline import Baseline
from tests.driving.alert_histories import DAY, POLICY, START
from tests.driving.engine import plan_of
from tests.driving.generations import Generations, one_change_each, saved
from tests.faults.events import MOOD

if TYPE_CHECKING:
    from tests.oracle.engine import Record


def test_no_change_is_published_until_the_last_published_revision_is_reached() -> None:
    scenario = saved()
    records = one_change_each(scenario, 3)
    before = scenario.changes
    assert before == [(0, 30), (30, 40), (40, 50), (50, 60)]
    scenario.crash()
    scenario.drive.take(records[:1])
    scenario.drive.take(records[1:2])
    assert scenario.behind
    assert scenario.changes == before, "it has not come as far yet"
    scenario.drive.take(records[2:])
    assert not scenario.behind
    assert scenario.changes == before
    scenario.use(0.3, 1)
    assert scenario.changes[-1] == (60, 70)
    assert [(factor.before, factor.after) for factor in scenario.drive.changes[-1].factors][:1] == [(60, 70)]


def test_an_account_that_is_behind_holds_back_no_other() -> None:
    scenario = saved()
    one_change_each(scenario, 2)
    scenario.crash()
    scenario.use(0.2, 1, account="newco")
    assert scenario.behind
    assert scenario.drive.changes[-1].account_id == "newco"


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.CONFLATED])
def test_a_rise_and_fall_within_one_step_after_the_crash_is_reverted(mode: Mode) -> None:
    scenario = Generations("", policy=MOOD.replace("{", "{{").replace("}", "}}"))
    scenario.take(0.1, "surveys", kind="nps", score=8)
    scenario.commit()
    bad = scenario.record(0.2, "surveys", kind="nps", score=2)
    scenario.drive.take([bad])
    assert scenario.changes == [(0, 80), (80, 20)]
    scenario.crash(mode=mode)
    scenario.drive.take([bad, scenario.record(0.3, "surveys", kind="nps", score=8)])
    scenario.drive.turn_to(Mode.HEAD)
    scenario.drive.flush()
    (last,) = scenario.drive.changes[2:]
    assert (last.from_, last.to, last.band_from, last.band_to, last.cause) == (20, 80, "bad", "good", "event")
    assert [(factor.measure, factor.delta) for factor in last.factors][:1] == [("mood", 60)]


def test_a_row_that_an_interrupted_commit_wrote_is_rebased_when_the_changes_are_loaded() -> None:
    scenario = saved()
    known = scenario.committed_changes
    scenario.use(0.2, 3)
    scenario.commit()
    scenario.committed_changes = known
    scenario.crash()
    assert not scenario.behind
    scenario.use(0.3, 1)
    assert scenario.changes == [(0, 30), (30, 60), (60, 70)]


def test_a_revision_that_other_events_reach_before_the_time_is_reached_is_still_behind() -> None:
    """The next generation gets another event first: as many events, but not yet the same time."""
    scenario = saved()
    last = scenario.record(1.5)
    scenario.drive.take([last])
    assert scenario.changes == [(0, 30), (30, 0), (0, 10)]
    scenario.crash()
    scenario.take(1.2, "support-tickets")
    assert scenario.behind
    scenario.drive.take([last])
    assert not scenario.behind
    assert scenario.changes == [(0, 30), (30, 0), (0, 10)]


def test_an_account_that_was_never_committed_continues_from_its_published_changes() -> None:
    scenario = Generations("")
    records = one_change_each(scenario, 2)
    scenario.crash()
    scenario.drive.take(records)
    scenario.use(0.3, 1)
    assert scenario.changes == [(0, 10), (10, 20), (20, 30)]


def test_a_change_published_under_another_policy_makes_policy_the_cause_of_the_next() -> None:
    scenario = saved()
    records = one_change_each(scenario, 2)
    other = POLICY.replace("hundred_at = 10", "hundred_at = 20").replace("measures.tickets", "measures.other")
    scenario.crash(plan_of(other.format(rules="", window="1d")))
    scenario.drive.take(records)
    last = scenario.drive.changes[-1]
    assert (last.from_, last.to, last.cause) == (50, 25, "policy")
    assert {factor.measure: (factor.before, factor.after) for factor in last.factors}["usage"] == (50, 25)
    assert last.band_from == "fair"


def test_a_removed_score_or_band_and_a_value_that_is_no_change_are_ignored() -> None:
    scenario = saved()
    (first,) = scenario.drive.changes
    gone = msgspec.structs.replace(first, score="gone", to=1.0)
    renamed = msgspec.structs.replace(first, band_to="purple", to=20.0)
    engine = scenario.drive.engine
    values = [b"nothing", None, encode(gone), encode(renamed)]
    engine.publisher.load(Baseline([(value, None) for value in values], 4), engine.as_of)
    scenario.drive.flush()
    last = scenario.drive.changes[-1]
    assert (last.from_, last.to, last.band_from, last.band_to) == (20, 30, None, "fair")


def test_values_that_no_worker_wrote_do_not_raise() -> None:
    scenario = Generations("")
    scenario.use(0.1, 3)
    good = encode(scenario.drive.changes[0])
    bad = [good.replace(b"acme", b"ac\xffe"), b"[" * 100_000, good.replace(b'"to":30.0', b'"to":"much"'), b"7"]
    baseline = Baseline([(value, None) for value in (*bad, None)], 5)
    accounts = scenario.drive.engine.accounts
    assert baseline.rows(accounts).tolist() == [0], "the account can be read, the change can not"
    baseline.expire(accounts, scenario.plan)
    assert accounts.last_published_score[0, 0] == 30
    assert not baseline
    assert not Baseline([(value, None) for value in bad[:2]], 5)


def test_two_generations_give_the_same_change_different_ids() -> None:
    """A reader that drops ids it has seen would drop a new change."""
    scenario = saved()
    (first,) = scenario.drive.changes
    again = Generations("")
    again.drive.engine = Engine(again.plan)
    again.drive.engine.publisher.load(Baseline([], 5), None)
    again.use(0.1, 3)
    (second,) = again.drive.changes
    assert second.id != first.id
    assert msgspec.structs.replace(second, id=first.id) == first


def override(scenario: Generations, day: float, **fields: Any) -> Record:
    event = {"kind": "override", "score": 10, "reason": "sponsor left", "expires_at": START + 5 * DAY, **fields}
    return scenario.record(day, "controls", **event)


@pytest.mark.parametrize("later", [None, "clear_override", "override"])
def test_a_published_override_is_published_again_only_if_it_has_changed(later: str | None) -> None:
    scenario = saved()
    records = [override(scenario, 0.2)]
    scenario.drive.take(records)
    assert [change.cause for change in scenario.drive.changes] == ["event", "override"]
    if later is not None:
        records.append(override(scenario, 0.3, kind=later, score=20))
    scenario.crash()
    scenario.drive.take(records)
    published = [change.override and change.override.score for change in scenario.drive.changes[2:]]
    assert published == {None: [], "clear_override": [None], "override": [20]}[later]
    scenario.use(0.4, 1)
    assert scenario.drive.changes[-1].cause == "event"


def test_the_published_end_of_an_override_is_not_published_again() -> None:
    scenario = Generations("")
    scenario.use(0.1, 3)
    scenario.drive.take([override(scenario, 0.2)])
    scenario.commit()
    end = [override(scenario, 0.3, kind="clear_override")]
    scenario.drive.take(end)
    scenario.crash()
    scenario.drive.take(end)
    assert [change.override is None for change in scenario.drive.changes] == [True, False, True]
