"""A shadow changes nothing of what the live policy says, says what it would say alone, and becomes what it was.

Policies are drawn, with alert rules of every kind of memory; steps, modes, commits, starts and crashes are too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas.outputs import ScoreMessage
from stream.accounts.acknowledgements import Acknowledgement
from stream.engine.engine import Engine, Mode
from tests.driving.engine import cuts, open_episodes, partitions, plan_of, plausible_logs
from tests.driving.scores import messages_of
from tests.driving.shadow import Alone, Both
from tests.strategies.effort import examples
from tests.strategies.policies import DAY_MS, RICH, Sent, log_of, policies
from tests.strategies.rich_policies import rich_policies

if TYPE_CHECKING:
    from stream.plan.plan import Plan
    from tests.driving.engine import Cut
    from tests.oracle.engine import Record

RULES = """
[alerts.low]
when = { below = 60 }
clear = 70
for = "2d"
[alerts.fell]
when = { drop = 10, within = "3d" }
cooldown = "2d"
max_per_day = 1
[alerts.any]
when = { below = 80 }
[alerts.quiet]
when = { silent = "product-usage", within = "3d" }
"""
MODES = ((Mode.HEAD,), (Mode.HEAD, Mode.CONFLATED), (Mode.EXACT, Mode.HEAD))


@st.composite
def plans(draw: st.DrawFn, *, rich: bool = False) -> Plan:
    text = draw(rich_policies() if rich else policies())
    return plan_of(text + (RULES if draw(st.booleans()) else ""))


def pairs(*, rich: bool) -> st.SearchStrategy[tuple[Plan, Plan]]:
    two = st.tuples(plans(rich=rich), plans(rich=rich))
    return two.filter(lambda both: both[0].label != both[1].label)


def alone_beside(plan: Plan, candidate: Plan) -> tuple[Both, Alone, Alone]:
    live, other = Alone(plan), Alone(candidate)
    return Both(plan, candidate, beside=[live, other]), live, other


def drive(data: st.DataObject, both: Both, steps: list[Cut]) -> None:
    """Take all steps, with commits and starts at chance, and arrive at the head."""
    for step in steps:
        both.turn_to(step.mode)
        both.take(step.records)
        if step.flush:
            both.commit()
            if data.draw(st.booleans()):
                both.start()
    both.turn_to(Mode.HEAD)
    both.commit()


def same_as_alone(both: Both, live: Alone, other: Alone) -> None:
    assert [(x.scores, x.changes, x.alerts, x.dead_letters, x.forwards, x.outcomes) for x in both.raw] == [
        (x.scores, x.changes, x.alerts, x.dead_letters, x.forwards, x.outcomes) for x in live.raw
    ]
    assert both.pair.live.settled == live.engine.settled
    assert both.pair.shadow is not None
    shadow = both.pair.shadow.engine
    assert shadow.current().scores == other.engine.current().scores
    assert open_episodes(shadow) == open_episodes(other.engine)
    assert shadow.settled == other.engine.settled
    # What the topic says last of each account is what the candidate alone would have said last, and what is open.
    scored_batch = {sent.key.decode(): sent.value for effects in other.raw for sent in effects.scores}
    shadows = both.shadows()
    assert shadows.keys() == scored_batch.keys()
    opened = open_episodes(other.engine)
    for account, message in shadows.items():
        right = msgspec.json.decode(scored_batch[account], type=ScoreMessage)
        assert (message.scores, message.policy) == (right.scores, right.policy)
        assert sorted(message.alerts) == sorted(rule for name, rule in opened if name == account)


@settings(max_examples=examples(10))
@given(st.data(), plausible_logs(partitions=1), pairs(rich=False), st.sampled_from(MODES))
def test_both_say_what_each_says_alone(
    data: st.DataObject, log: list[Record], two: tuple[Plan, Plan], modes: tuple[Mode, ...]
) -> None:
    (records,) = partitions(log).values()
    both, live, other = alone_beside(*two)
    drive(data, both, data.draw(cuts(records, modes)))
    same_as_alone(both, live, other)


@settings(max_examples=examples(10))
@given(st.data(), plausible_logs(partitions=1, **RICH), pairs(rich=True))
def test_both_say_what_each_says_alone_in_all_of_the_language(
    data: st.DataObject, log: list[Record], two: tuple[Plan, Plan]
) -> None:
    (records,) = partitions(log).values()
    both, live, other = alone_beside(*two)
    drive(data, both, data.draw(cuts(records, (Mode.HEAD, Mode.EXACT))))
    same_as_alone(both, live, other)


@settings(max_examples=examples(15))
@given(st.data(), plausible_logs(partitions=1, backdated=False), pairs(rich=False))
def test_a_crash_in_the_middle_of_a_commit_leaves_both_right(
    data: st.DataObject, log: list[Record], two: tuple[Plan, Plan]
) -> None:
    (records,) = partitions(log).values()
    right = [Both(plan, None) for plan in two]
    for alone in right:
        alone.take(records)
    both = Both(*two)
    half = data.draw(st.integers(0, len(records)))
    begin = data.draw(st.integers(0, half))
    both.take(records[:begin])
    both.commit()
    committed = dict(both.pair.live.position)
    both.take(records[begin:half])
    both.commit(data.draw(st.integers(0, 30)))
    both.start()
    assert not both.opened.begun or not begin
    both.take([record for record in records if record.offset >= committed.get(record.source, 0)])
    assert both.pair.shadow is not None
    for engine, alone in zip((both.pair.live, both.pair.shadow.engine), right, strict=True):
        actual, expected = messages_of(engine), messages_of(alone.pair.live)
        assert {name: message["scores"] for name, message in actual.items()} == {
            name: message["scores"] for name, message in expected.items()
        }


def held(engine: Engine) -> dict[str, object]:
    """What an engine remembers of each account's boundaries."""
    accounts, alerts = engine.accounts, engine.accounts.alerts
    arrays: list[np.ndarray[Any, Any]] = [
        accounts.sticky_band,
        accounts.due_since,
        alerts.boundary_phase,
        alerts.true_since,
    ]
    arrays += [alerts.boundary_ended, alerts.fired_day, alerts.fired_count, alerts.kind_state]
    return {
        name: [array[row].tolist() for array in arrays]
        for row, name in enumerate(accounts.index.names)
        if accounts.applied[row]
    }


def assert_episodes(both: Both) -> set[tuple[str, str]]:
    """Each alert fires and is resolved in turn; returns those open at the end."""
    opened: set[tuple[str, str]] = set()
    for alert in both.alerts():
        what = alert.account_id, alert.rule
        assert (what in opened) == (alert.status == "resolved"), alert
        opened ^= {what}
    return opened


def next_boundary(engine: Engine) -> int:
    assert engine.as_of is not None
    return (engine.as_of // DAY_MS + 1) * DAY_MS


@settings(max_examples=examples(15))
@given(st.data(), plausible_logs(partitions=1), pairs(rich=False))
def test_promoted_it_is_what_it_would_be_had_it_always_been_live(
    data: st.DataObject, log: list[Record], two: tuple[Plan, Plan]
) -> None:
    (records,) = partitions(log).values()
    assume(records)
    plan, candidate = two
    both, live, other = alone_beside(plan, candidate)
    half = data.draw(st.integers(1, len(records)))
    drive(data, both, data.draw(cuts(records[:half], (Mode.HEAD, Mode.EXACT))))
    known = set(messages_of(live.engine))

    both.plan = candidate
    both.start()
    assert both.opened.promoted
    if data.draw(st.booleans()):  # it crashes before all of its first commit is written
        both.commit(data.draw(st.integers(0, 40)))
        both.start()
        if both.opened.promoted:
            del both.raw[-1]  # all is said again, with other ids where a boundary comes before
    assert (both.opened.missing, both.pair.shadow) == ({}, None)
    drive(data, both, data.draw(cuts(records[half:], (Mode.HEAD, Mode.EXACT))))

    engine, right = both.pair.live, other.engine
    if right.as_of is None:
        return
    boundary = next_boundary(right)
    both.act(lambda engine: engine.tick(boundary))
    mine, alone = messages_of(engine), messages_of(right)
    assert mine.keys() - alone.keys() <= known
    assert {name: mine[name]["scores"] for name in alone} == {
        name: message["scores"] for name, message in alone.items()
    }
    remembered = held(engine)
    assert {name: remembered[name] for name in alone} == held(right)
    opened = {what for what in open_episodes(engine) if what[0] in alone}
    assert opened == open_episodes(right)
    assert {what for what in assert_episodes(both) if what[0] in alone} == opened
    assert_chained(both)
    both.commit()
    assert not [key for key in both.topic if key[:1] == b"x" and not key.startswith(both.opened.namespaces.live)]
    assert not both.shadow_topic


@settings(max_examples=examples(15))
@given(st.data(), plausible_logs(partitions=1), pairs(rich=False))
def test_a_promoted_candidate_has_the_snoozes_it_would_have_alone_and_what_was_published_of_acknowledgements(
    data: st.DataObject, log: list[Record], two: tuple[Plan, Plan]
) -> None:
    (records,) = partitions(data.draw(with_acknowledgements(log))).values()
    plan, candidate = two
    both, _, other = alone_beside(plan, candidate)
    half = data.draw(st.integers(1, len(records)))
    drive(data, both, data.draw(cuts(records[:half], (Mode.HEAD, Mode.EXACT))))
    both.plan, both.candidate = candidate, None
    both.start()
    assert both.opened.promoted
    both.commit()
    drive(data, both, data.draw(cuts(records[half:], (Mode.HEAD, Mode.EXACT))))

    engine = both.pair.live
    assert active_snoozes(other.engine).items() <= active_snoozes(engine).items()
    latest = {(alert.account_id, alert.rule): alert for alert in both.alerts()}
    for account, rule in open_episodes(engine):
        published = latest[account, rule]
        current = engine.accounts.acknowledgements.get(engine.accounts.index[account], {}).get(rule, Acknowledgement())
        acknowledged = (published.acknowledged_at, published.acknowledged_by)
        assert (None if acknowledged[0] is None else acknowledged, published.snoozed_until) == current.published_form()


@st.composite
def with_acknowledgements(draw: st.DrawFn, log: list[Record]) -> list[Record]:
    """Draw acknowledgements and snoozes of the alerts in `RULES` into a log of one partition."""
    sent = [Sent(record.source, record.partition, record.timestamp_ms, record.key, record.value) for record in log]
    accounts = sorted({record.key for record in log if record.key is not None})
    for number in range(draw(st.integers(1, 8)) if accounts else 0):
        account, time_ms = draw(st.sampled_from(accounts)), draw(st.sampled_from(log)).timestamp_ms
        days = draw(st.none() | st.integers(-1, 5))
        kind = {"kind": "acknowledge"} if days is None else {"kind": "snooze", "until": time_ms + days * DAY_MS}
        rule = draw(st.sampled_from(("low", "fell", "any", "quiet")))
        control = {"id": f"c-{number}", "account_id": account.decode(), "time": time_ms, "rule": rule, "by": "ann"}
        control |= kind
        sent.append(Sent("controls", 0, time_ms, account, msgspec.json.encode(control)))
    return log_of(sent)


def active_snoozes(engine: Engine) -> dict[tuple[str, str], str]:
    """Ids of the snoozes that have not ended, by account and rule."""
    assert engine.as_of is not None or not engine.accounts.acknowledgements
    return {
        (engine.accounts.index.names[row], rule): acknowledgement.snoozed.id
        for row, by_rule in engine.accounts.acknowledgements.items()
        for rule, acknowledgement in by_rule.items()
        if acknowledgement.snoozed is not None and acknowledgement.until(engine.as_of or 0) is not None
    }


def assert_chained(both: Both) -> None:
    """Each change begins where the one before it ended, also over the promotion."""
    published: dict[tuple[str, str], float] = {}
    for change in both.changes():
        assert change.from_ == published.get((change.account_id, change.score), 0)
        assert np.isclose(sum(factor.delta for factor in change.factors), change.to - change.from_, atol=1e-9)
        published[change.account_id, change.score] = change.to
