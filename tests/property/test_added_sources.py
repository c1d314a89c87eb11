"""Sources that a policy adds: shuffled, duplicated, late, invalid, restored, in any mode, as the oracle says.

The policies have two sources of their own beside a built-in one. Which fields they have is drawn.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.engine.engine import Engine, Mode
from stream.recovery import changelog
from tests.driving.crashes import Crashing, live_through
from tests.driving.engine import Drive, assert_same, cuts, driven, partitions, plan_of, scores_of
from tests.oracle.engine import Record, final_scores, outcomes
from tests.strategies.effort import examples
from tests.strategies.policies import DAY_MS, NOW_MS, Sent, log_of, rearranged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypothesis.strategies import DrawFn

ADDED = ("licences", "visits")
ACCOUNTS = ("acme", "birch")
FIELDS = {"seats": "number", "in use": "number", "module": "text", "active": "flag"}
MODULES = ("core", "extra", "", "true")
MODES = ((Mode.HEAD,), (Mode.HEAD, Mode.CONFLATED), (Mode.EXACT,))
QUICK = settings(max_examples=examples(60), deadline=None)

HEAD = """
name = "added"
[sources.visits]
fields = { minutes = "number" }
[sources.licences]
topic = "crm.licences"
fields = { seats = "number", "in use" = "number", module = "text", active = "flag" }
"""
BUILT_IN_ONLY = """
[measures.uses]
source = "product-usage"
stat = "count"
window = "3d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
"""
SCORE = """
[scores.health]
min_change = 0
bands = [{ name = "fine", from = 40 }, { name = "poor", from = 0 }]
"""
WHERE = (
    "",
    'where = { module = ["core", "true"] }',
    'where = { active = ["true"] }',
    'where = { active = { not = ["true"] }, "in use" = { from = 10 } }',
    "where = { module = { exists = true }, seats = { below = 50 } }",
)
STATS = (
    *(
        ("licences", f'stat = "{stat}"\nfield = "{field}"')
        for stat in ("sum", "mean", "last", "max")
        for field in ("seats", "in use")
    ),
    ("licences", 'stat = "distinct"\nfield = "module"'),
    ("licences", 'stat = "share"\nof = { active = ["true"] }'),
    ("licences", 'stat = "weighted_count"\nweights = { active = { true = 2, false = -1 } }'),
    ("visits", 'stat = "count"'),
    ("visits", 'stat = "mean"\nfield = "minutes"'),
    ("visits", 'stat = "days_since_last"'),
)


@st.composite
def policies(draw: DrawFn) -> str:
    """A policy with measures of added sources, some of whose fields every event must have."""
    required = draw(st.lists(st.sampled_from(tuple(FIELDS)), unique=True, max_size=2))
    head = HEAD + (f"required = {json.dumps(required)}\n" if required else "")
    head += 'stall_after = "2d"\n' if draw(st.booleans()) else ""
    measures = BUILT_IN_ONLY
    for number, (source, stat) in enumerate(draw(st.lists(st.sampled_from(STATS), min_size=1, max_size=4))):
        where = draw(st.sampled_from(WHERE)) if source == "licences" else ""
        window = draw(st.sampled_from(("3d", "28d", "3d" if "days_since" in stat else "30h")))
        measures += f"""
[measures.m{number}]
source = "{source}"
{stat}
{where}
window = "{window}"
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 60 }}
weight = {draw(st.integers(1, 3))}
"""
    return head + measures + SCORE


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "number": st.one_of(st.integers(-5, 100), st.sampled_from((0.5, 12.25, 1e-6))),
    "text": st.sampled_from(MODULES),
    "flag": st.booleans(),
}
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "number": st.sampled_from(("7", True, [1], 1e13)),
    "text": st.sampled_from((7, True, {})),
    "flag": st.sampled_from(("true", 1, "yes")),
}


@st.composite
def arrivals(draw: DrawFn, number: int) -> list[Sent]:
    """One event on its way, complete or not, right or wrong, and a duplicate of it now and then."""
    source = draw(st.sampled_from((*ADDED, *ADDED, "product-usage")))
    account = draw(st.sampled_from(ACCOUNTS))
    time_ms = NOW_MS - draw(st.sampled_from((0, 1, 2, 4, 10, 27, 28, 34))) * DAY_MS - draw(st.integers(0, DAY_MS))
    event: dict[str, Any] = {"id": f"e-{number}", "account_id": account, "time": time_ms}
    fields = FIELDS if source == "licences" else {"minutes": "number"} if source == "visits" else {}
    for field, kind in fields.items():
        fate = draw(st.integers(0, 11))
        if fate == 0:
            event[field] = draw(WRONG[kind])
        elif fate == 1:
            event[field] = None
        elif fate > 2:
            event[field] = draw(VALUES[kind])
    event |= {"unknown": 1} if draw(st.booleans()) else {}
    arrives_ms = min(NOW_MS, time_ms + draw(st.sampled_from((0, 0, DAY_MS, 34 * DAY_MS))))
    sent = Sent(source, 0, arrives_ms, account.encode(), json.dumps(event).encode())
    again = Sent(source, 0, min(NOW_MS, arrives_ms + DAY_MS), account.encode(), sent.value)
    return [sent, again] if draw(st.integers(0, 4)) == 4 else [sent]


@st.composite
def sent_events(draw: DrawFn) -> list[Sent]:
    count = draw(st.integers(1, 25))
    return [sent for number in range(count) for sent in draw(arrivals(number))]


@QUICK
@given(st.data(), sent_events(), policies())
def test_cut_anywhere_and_in_any_mode_scores_and_outcomes_are_those_of_the_oracle(
    data: st.DataObject, sent: list[Sent], policy_text: str
) -> None:
    log = log_of(sent)
    (records,) = partitions(log, ADDED).values()
    drive = driven(data.draw(cuts(records)), plan_of(policy_text))
    assert_same(scores_of(drive.engine), final_scores(log, policy_text, NOW_MS))
    assert +drive.engine.settled == outcomes(log, policy_text, NOW_MS)


@QUICK
@given(
    st.data(), sent_events(), policies(), st.sampled_from(((Mode.HEAD,), (Mode.HEAD, Mode.CONFLATED), (Mode.EXACT,)))
)
def test_after_crashes_no_event_is_lost_or_counted_twice(
    data: st.DataObject, sent: list[Sent], policy_text: str, modes: tuple[Mode, ...]
) -> None:
    log = data.draw(rearranged(sent))
    (records,) = partitions(log, ADDED).values()
    worker = Crashing(plan_of(policy_text), records)
    live_through(data, worker, modes)
    assert_same(scores_of(worker.drive.engine), final_scores(log, policy_text, NOW_MS))
    assert +worker.drive.engine.settled == outcomes(log, policy_text, NOW_MS)


@QUICK
@given(st.data(), sent_events(), policies())
def test_a_policy_that_adds_sources_reads_all_their_events_and_keeps_the_rest(
    data: st.DataObject, sent: list[Sent], policy_text: str
) -> None:
    """The state of a policy without them is restored by one with them, and all records are read from then on."""
    log = log_of(sent)
    (records,) = partitions(log, ADDED).values()
    old = [record for record in records if record.source not in ADDED]
    before = Drive(Engine(plan_of('name = "before"\n' + BUILT_IN_ONLY.replace("3d", "30d") + SCORE)))
    before.take(old[: data.draw(st.integers(0, len(old)))])
    before.save()
    drive = restored(policy_text, before.topic)
    later_than_state = [record for record in records if is_left(drive.engine, record)]
    drive.take(later_than_state)
    drive.flush()
    if not any(outcome == "late" for _, outcome in (*outcomes(log, policy_text, NOW_MS), *drive.engine.settled)):
        final = final_scores(log, policy_text, NOW_MS)
        assert_same(scores_of(drive.engine), final)
    assert not [name for name, _ in drive.engine.history.incomplete if name != "uses"]


@QUICK
@given(st.data(), sent_events(), policies())
def test_a_source_that_is_removed_and_added_again_is_read_from_where_it_was(
    data: st.DataObject, sent: list[Sent], policy_text: str
) -> None:
    (records,) = partitions(log_of(sent), ADDED).values()
    cut = data.draw(st.integers(0, len(records)))
    first = Drive(Engine(plan_of(policy_text)))
    first.take(records[:cut])
    first.save()
    position = dict(first.engine.position)
    without = restored('name = "without"\n' + BUILT_IN_ONLY + SCORE, first.topic)
    kept_positions = {name: position[name] for name in ADDED if position[name] or without.engine.other_positions}
    assert without.engine.other_positions.items() >= kept_positions.items()
    newer = [record for record in records[cut:] if record.source not in ADDED]
    without.take(newer)
    without.save()
    again = restored(policy_text, without.topic)
    assert {name: again.engine.position[name] for name in ADDED} == {name: position[name] for name in ADDED}
    assert again.engine.other_positions == {}
    again.take([record for record in records[cut:] if is_left(again.engine, record)])
    applied = again.engine.settled
    assert all(applied[name, "applied"] <= sum(record.source == name for record in records) for name in ADDED)


def restored(policy_text: str, topic: dict[bytes, bytes]) -> Drive:
    """An engine that begins with the state of another policy; the changelog goes on."""
    engine = Engine(plan_of(policy_text))
    changelog.restore(engine, topic)
    return Drive(engine, topic=dict(topic))


def is_left(engine: Engine, record: Record) -> bool:
    return record.offset >= engine.position[record.source]


def test_the_strategies_reach_every_outcome() -> None:
    """Without it, a mistake in the strategies could leave the properties above with nothing to show."""
    reached: Counter[tuple[str, str]] = Counter()

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(sent_events(), policies())
    def count(sent: Iterable[Sent], policy_text: str) -> None:
        reached.update(outcomes(log_of(list(sent)), policy_text, NOW_MS))

    count()
    assert {outcome for source, outcome in reached if source in ADDED} == {"applied", "late", "rejected", "duplicate"}
