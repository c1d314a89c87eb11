"""A crash at any moment, also within a commit: restored and replayed state ends with the scores of the oracle."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.outputs import ScoreChange
from stream.engine.engine import Mode
from tests.driving.alerts import changes_in
from tests.driving.crashes import Crashing, live_through
from tests.driving.engine import assert_same, cuts, partitions, plan_of, plausible_logs, scores_of
from tests.driving.scores import assert_explained, messages_of
from tests.oracle.engine import AccountScore, Record, final_scores, outcomes
from tests.strategies.effort import examples
from tests.strategies.policies import NOW_MS, RICH, policies
from tests.strategies.rich_policies import rich_policies


@given(
    st.data(),
    plausible_logs(partitions=1, backdated=False),
    policies(),
    st.sampled_from(((Mode.HEAD,), (Mode.HEAD, Mode.CONFLATED), (Mode.EXACT,))),
)
def test_after_crashes_no_event_is_lost_or_counted_twice(
    data: st.DataObject, log: list[Record], policy_text: str, modes: tuple[Mode, ...]
) -> None:
    (records,) = partitions(log).values()
    worker = Crashing(plan_of(policy_text), records)
    live_through(data, worker, modes)
    assert_same(scores_of(worker.drive.engine), final_scores(log, policy_text, NOW_MS))
    assert +worker.drive.engine.settled == outcomes(log, policy_text, NOW_MS)
    assert_ids_are_unique(worker.published)


@given(
    st.data(),
    plausible_logs(partitions=1, backdated=False),
    policies(),
    st.sampled_from(((Mode.HEAD,), (Mode.HEAD, Mode.CONFLATED), (Mode.EXACT,))),
)
def test_published_changes_form_one_chain_through_all_crashes(
    data: st.DataObject, log: list[Record], policy_text: str, modes: tuple[Mode, ...]
) -> None:
    """Each change begins where the one before ended, none comes twice, and the last one is the account's score."""
    (records,) = partitions(log).values()
    worker = Crashing(plan_of(policy_text), records)
    live_through(data, worker, modes, clock=True)
    sent = changes_in(worker.published)
    assert len({msgspec.json.decode(value)["id"] for value in sent}) == len(sent)
    min_change = worker.plan.policy.score.min_change
    changes = [msgspec.json.decode(value, type=ScoreChange) for value in sent]
    assert_chained(changes, min_change)
    final = scores_of(worker.drive.engine)
    last = {change.account_id: change for change in changes}
    assert scored_of(final) <= last.keys() <= final.keys()
    for account, change in last.items():
        assert (None if change.state else change.band_to) == final[account].band
        value = final[account].value
        assert value is None or abs(change.to - value) <= min_change + 1e-9


@settings(max_examples=examples(40))
@given(st.data(), plausible_logs(partitions=1, **RICH), rich_policies(), st.sampled_from(((Mode.HEAD,), tuple(Mode))))
def test_changes_of_policies_with_every_feature_form_one_chain_through_all_crashes(
    data: st.DataObject, log: list[Record], policy_text: str, modes: tuple[Mode, ...]
) -> None:
    (records,) = partitions(log).values()
    worker = Crashing(plan_of(policy_text), records)
    live_through(data, worker, modes, clock=True)
    changes = [msgspec.json.decode(value, type=ScoreChange) for value in changes_in(worker.published)]
    assert len({change.id for change in changes}) == len(changes)
    last, final = assert_explained(changes), messages_of(worker.drive.engine)
    names = {
        (account, name): score["band"]
        for account, message in final.items()
        for name, score in message["scores"].items()
    }
    assert {key for key, band in names.items() if band is not None} <= last.keys() <= names.keys()
    engine = worker.drive.engine
    if engine.as_of is not None and engine.as_of != engine.plan.boundary_at(engine.as_of):
        for (account, name), change in last.items():
            assert (None if change.state else change.band_to) == final[account]["scores"][name]["band"]


def scored_of(final: dict[str, AccountScore]) -> set[str]:
    """The accounts that have a value."""
    return {account for account, score in final.items() if score.value is not None}


def assert_ids_are_unique(published: list[bytes]) -> None:
    """The same id never names two contents."""
    contents: dict[str, bytes] = {}
    for message in published:
        identity = msgspec.json.decode(message)["id"]
        assert contents.setdefault(identity, message) == message


@given(st.data(), plausible_logs(partitions=1, backdated=False, duplicates=False), policies())
def test_without_deduplication_applied_offsets_suffice_after_crashes(
    data: st.DataObject, log: list[Record], policy_text: str
) -> None:
    (records,) = partitions(log).values()
    worker = Crashing(plan_of(policy_text), records, dedup=False)
    live_through(data, worker, (Mode.HEAD, Mode.CONFLATED))
    assert_same(scores_of(worker.drive.engine), final_scores(log, policy_text, NOW_MS))


POLICY = """
name = "p"
[measures.m]
source = "product-usage"
stat = "count"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "all", from = 0 }]
"""


def usage(*ids: str, first: int = 0) -> list[Record]:
    return [
        Record(
            "product-usage",
            0,
            offset,
            NOW_MS,
            b"a",
            b'{"id": "%s", "account_id": "a", "time": %d}' % (event_id.encode(), NOW_MS),
        )
        for offset, event_id in enumerate(ids, first)
    ]


@pytest.mark.parametrize("applied_offsets", [True, False])
def test_without_applied_offsets_the_oracle_sees_events_counted_twice(applied_offsets: bool) -> None:
    log = usage("1", "2", "3")
    worker = Crashing(plan_of(POLICY), log, dedup=False)
    worker.drive.take(log)
    worker.commit(3)  # the row schema, the history and the row, but neither the state nor the offsets
    worker.crash()
    if not applied_offsets:
        worker.drive.engine.accounts.applied_offsets[:] = -1
    worker.drive.take(worker.pending())
    scores, expected = scores_of(worker.drive.engine), final_scores(log, POLICY, NOW_MS)
    if applied_offsets:
        assert_same(scores, expected)
    else:
        assert scores["a"].value == pytest.approx(2 * (expected["a"].value or 0))


def test_a_partition_with_only_profiles_is_restored() -> None:
    profile = Record("accounts", 0, 0, NOW_MS, b"a", b'{"id": "1", "account_id": "a", "time": %d}' % NOW_MS)
    worker = Crashing(plan_of(POLICY), [profile, *usage("1")])
    worker.drive.take([profile])
    worker.commit()
    worker.crash()
    worker.drive.take(worker.pending())
    assert scores_of(worker.drive.engine)["a"].value == 1.0
    assert set(worker.drive.engine.accounts.profiles) == {0}


@given(st.data(), plausible_logs(partitions=1, backdated=False), policies(), st.sampled_from(tuple(Mode)))
def test_changes_are_chained_and_explained(
    data: st.DataObject, log: list[Record], policy_text: str, mode: Mode
) -> None:
    (records,) = partitions(log).values()
    plan = plan_of(policy_text)
    worker = Crashing(plan, records)
    modes = (Mode.HEAD, mode)
    for step in data.draw(cuts(records, modes)):
        worker.drive.turn_to(step.mode)
        worker.drive.take(step.records)
        if step.flush:
            worker.commit()
            drive = worker.drive
            worker.start()
            worker.drive.changes, worker.drive.alerts, worker.drive.raw = (
                drive.changes,
                drive.alerts,
                drive.raw,
            )
            worker.drive.mode = step.mode
    worker.drive.turn_to(Mode.HEAD)
    # A boundary at the very moment of the last event has not passed: with it an account may have no data any more.
    worker.drive.note(worker.drive.engine.tick(worker.drive.engine.as_of or 0))
    worker.drive.flush()
    assert_chained(worker.drive.changes, plan.policy.score.min_change)
    final = scores_of(worker.drive.engine)
    last = {change.account_id: change for change in worker.drive.changes}
    assert scored_of(final) <= last.keys() <= final.keys()
    for account, change in last.items():
        value = final[account].value
        assert (None if change.state else change.band_to) == final[account].band
        assert value is None or abs(change.to - value) <= plan.policy.score.min_change + 1e-9
    assert_ids_are_unique(worker.drive.raw)


def assert_chained(changes: list[ScoreChange], min_change: float) -> None:
    last: dict[str, ScoreChange] = {}
    for change in changes:
        before = last.get(change.account_id)
        assert change.from_ == (before.to if before else 0)
        assert change.band_from == (before.band_to if before else None)
        assert abs(sum(factor.delta for factor in change.factors) - (change.to - change.from_)) <= 1e-9
        assert abs(sum(factor.after for factor in change.factors) - change.to) <= 1e-9
        moved = abs(change.to - change.from_)
        moves = (moved >= min_change - 1e-9 and moved > 0) or change.band_from != change.band_to
        assert moves or change.cause == "status"
        last[change.account_id] = change
