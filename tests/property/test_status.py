"""The status of accounts is the oracle's at every boundary, for histories that end and begin again, restarted."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.accounts.status import STATES, TRANSITIONS
from stream.engine.engine import Engine, Mode
from stream.recovery import changelog
from tests.driving.engine import Drive, plan_of
from tests.driving.scores import WatchedScores, assert_explained, assert_same_scores, messages_of
from tests.oracle.engine import Record, boundary_scores_all, final_scores_all, merged
from tests.strategies.effort import examples
from tests.strategies.policies import DAY_MS, NOW_MS

POLICY = """
name = "status"
{tables}
[measures.usage]
source = "product-usage"
stat = "count"
window = "4d"
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 5 }}
weight = 1
[measures.nps]
source = "surveys"
stat = "mean"
field = "score"
window = "6d"
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 10 }}
weight = 1
[scores.health]
min_change = 1
bands = [{{ name = "good", from = 50, leave = 45 }}, {{ name = "poor", from = 0, alert = "critical" }}]
[scores.voice]
weights = {{ nps = 1 }}
min_change = 0
bands = [{{ name = "heard", from = 0 }}]
"""
TABLES = (
    "",
    '[status]\ndormant_after = "2d"\n[new_accounts]\nmin_age = "3d"\n',
    '[status]\ndormant_after = "9d"\nended_by = [{ source = "engagement" }]\n',
)
FIRST_MS = NOW_MS // DAY_MS * DAY_MS - 20 * DAY_MS
KINDS: tuple[tuple[str, dict[str, Any] | None], ...] = (
    ("product-usage", {}),
    ("product-usage", {}),
    ("surveys", {"kind": "nps", "score": 8}),
    ("billing", {"kind": "cancelled"}),
    ("billing", {"kind": "renewed"}),
    ("engagement", {"kind": "meeting"}),
    ("controls", {"kind": "pulse", "value": 50}),
    ("controls", {"kind": "clear_override"}),
    ("accounts", {}),
    ("accounts", {"ended_at": None}),
    ("accounts", None),
    ("accounts", {"ended_at": FIRST_MS + 8 * DAY_MS}),
    ("accounts", {"ended_at": FIRST_MS + 15 * DAY_MS}),
)
"""What happens to an account; None is a tombstone. A later profile takes that back, and null takes `ended_at` back."""


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """Events of two accounts over 20 days, in any order of arrival, some twice."""
    drawn = draw(
        st.lists(
            st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.sampled_from(range(len(KINDS)))),
            min_size=2,
            max_size=16,
        )
    )
    shuffled = (
        draw(st.permutations(range(len(drawn))))
        if draw(st.booleans())
        else sorted(range(len(drawn)), key=lambda index: drawn[index][1])
    )
    order = [*shuffled, *draw(st.lists(st.sampled_from(shuffled), max_size=2))]
    offsets: dict[str, int] = {}
    records = []
    for position, index in enumerate(order):
        account, half_days, kind = drawn[index]
        source, fields = KINDS[kind]
        time_ms = FIRST_MS + half_days * DAY_MS // 2
        offset = offsets[source] = offsets.get(source, -1) + 1
        if fields is None:
            records.append(Record(source, 0, offset, time_ms, account.encode(), None))
            continue
        event = {"id": str(index), "account_id": account, "time": time_ms, **fields}
        records.append(Record(source, 0, offset, FIRST_MS + position, account.encode(), json.dumps(event).encode()))
    return merged(records)[0]


@settings(max_examples=examples(60))
@given(histories(), st.sampled_from(TABLES))
def test_at_every_boundary_the_status_is_the_oracles(log: list[Record], tables: str) -> None:
    policy_text = POLICY.format(tables=tables)
    drive = Drive(WatchedScores(plan_of(policy_text)))
    for record in log:
        drive.take([record])
    drive.flush()
    assert isinstance(drive.engine, WatchedScores)
    last: dict[str, dict[str, Any]] = {}
    for (_, boundary_ms), scores in sorted(boundary_scores_all(log, policy_text, NOW_MS).items()):
        last = drive.engine.messages.get(boundary_ms, last)
        assert_same_scores(last, scores, policy_text, boundary_ms)
    assert_same_scores(messages_of(drive.engine), final_scores_all(log, policy_text, NOW_MS), policy_text)
    assert_explained(drive.changes)


@settings(max_examples=examples(40))
@given(histories(), st.sampled_from(TABLES), st.integers(0, 30))
def test_restored_after_every_record_each_transition_is_published_once(
    log: list[Record], tables: str, days: int
) -> None:
    policy_text = POLICY.format(tables=tables)
    plain, restored = Drive(Engine(plan_of(policy_text))), Drive(Engine(plan_of(policy_text)))
    for record in log:
        for drive in (plain, restored):
            drive.take([record])
            drive.save()
        engine = Engine(plan_of(policy_text))
        changelog.restore(engine, restored.topic)
        restored.engine = engine
    for drive in (plain, restored):
        drive.note(drive.engine.tick(NOW_MS + days * DAY_MS))
        drive.flush()
    assert restored.changes == plain.changes
    assert messages_of(restored.engine) == messages_of(plain.engine)
    for score in ("health", "voice"):
        for account in "ab":
            mine = [change for change in plain.changes if (change.account_id, change.score) == (account, score)]
            for before, after in pairwise(mine):
                assert after.state_from == before.state or after.cause == "override"


@settings(max_examples=examples(60))
@given(histories(), st.sampled_from(TABLES))
def test_no_account_makes_a_transition_that_is_not_in_the_table(log: list[Record], tables: str) -> None:
    engine = WatchedScores(plan_of(POLICY.format(tables=tables)))
    drive = Drive(engine)
    seen: dict[str, int] = {}
    numbers = {state: status for status, state in STATES.items() if status >= 0}
    for record in log:
        drive.take([record])
        engine.tick(engine.as_of or 0)
        for account, message in messages_of(engine).items():
            now = numbers[message.get("state")]
            before = seen.get(account, now)
            assert before == now or (before, now) in TRANSITIONS
            seen[account] = now


def test_in_catch_up_only_the_last_status_is_published() -> None:
    usage = {"id": "1", "account_id": "a", "time": FIRST_MS}
    ended = {"id": "2", "account_id": "a", "time": FIRST_MS + 1, "kind": "cancelled"}
    log = [
        Record("product-usage", 0, 0, FIRST_MS, b"a", json.dumps(usage).encode()),
        Record("billing", 0, 0, FIRST_MS, b"a", json.dumps(ended).encode()),
    ]
    drive = Drive(Engine(plan_of(POLICY.format(tables=""))), mode=Mode.CONFLATED)
    drive.take(log)
    drive.turn_to(Mode.HEAD)
    drive.flush()
    assert not drive.changes, "it was never published with a score"
    assert not drive.alerts
    assert [message.state for message in drive.scores] == ["ended"]
