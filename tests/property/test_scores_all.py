"""Policies that use all of the language: every score of every account is the oracle's, however it came about."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.engine.engine import Engine, Mode
from tests.driving.engine import CATCHING_UP, Cut, Drive, cuts, driven, partitions, plan_of, plausible_logs
from tests.driving.scores import (
    Message,
    WatchedScores,
    assert_explained,
    assert_nominal,
    assert_same_scores,
    messages_of,
    restarted,
)
from tests.oracle.engine import AccountScores, Record, boundary_scores_all, final_scores_all, outcomes
from tests.strategies.effort import examples
from tests.strategies.policies import (
    DAY_MS,
    LATEST_MS,
    NOW_MS,
    RICH,
    Sent,
    amounts,
    log_of,
    normalisers,
    rearranged,
    sent_records,
    toml_value,
)
from tests.strategies.rich_policies import rich_policies

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

DAYS = ("1d", "2d", "7d", "30d", "45d")


@settings(max_examples=examples(30))
@given(st.data(), plausible_logs(**RICH), rich_policies(), st.sampled_from(CATCHING_UP))
def test_final_scores_and_outcomes_are_the_oracles(
    data: st.DataObject, log: list[Record], policy_text: str, catching_up: Mode
) -> None:
    plan = plan_of(policy_text)
    messages: dict[str, Message] = {}
    counted: Counter[tuple[str, str]] = Counter()
    for records in partitions(log).values():
        drive = driven(data.draw(cuts(records, (Mode.HEAD, catching_up))), plan)
        messages |= messages_of(drive.engine)
        counted += drive.outcomes
    assert_same_scores(messages, final_scores_all(log, policy_text, NOW_MS), policy_text)
    assert counted == outcomes(log, policy_text, NOW_MS)


@settings(max_examples=examples(40))
@given(
    st.data(),
    plausible_logs(**RICH),
    st.one_of(rich_policies(windows=DAYS), rich_policies(windows=DAYS), rich_policies(max_measures=2)),
    st.sampled_from((Mode.HEAD, Mode.EXACT)),
)
def test_scores_at_every_boundary(data: st.DataObject, log: list[Record], policy_text: str, mode: Mode) -> None:
    plan = plan_of(policy_text)
    expected = boundary_scores_all(log, policy_text, NOW_MS)
    for partition, records in partitions(log).items():
        engine = driven(data.draw(cuts(records, (mode,))), plan, kind=WatchedScores).engine
        assert isinstance(engine, WatchedScores)
        last: dict[str, Message] = {}
        for (number, boundary_ms), scores in sorted(expected.items()):
            if number == partition:
                # Boundaries that the engine leaves out, as nothing could change any more, repeat the last one.
                last = engine.messages.get(boundary_ms, last)
                assert_same_scores(last, scores, policy_text, boundary_ms)


@settings(max_examples=examples(30))
@given(st.data(), plausible_logs(partitions=1, **RICH), rich_policies(), st.sampled_from(tuple(Mode)), st.booleans())
def test_changes_are_chained_and_explained_across_restarts(
    data: st.DataObject, log: list[Record], policy_text: str, mode: Mode, restarts: bool
) -> None:
    (records,) = partitions(log).values()
    drive = Drive(Engine(plan_of(policy_text)))
    for step in data.draw(cuts(records, (Mode.HEAD, mode))):
        drive.turn_to(step.mode)
        drive.take(step.records)
        if step.flush:
            before = messages_of(drive.engine)
            drive = restarted(drive, policy_text) if restarts else drive
            drive.flush()
            assert messages_of(drive.engine) == before
    drive.turn_to(Mode.HEAD)
    drive.flush()
    final = messages_of(drive.engine)
    assert_same_scores(final, final_scores_all(log, policy_text, NOW_MS), policy_text)
    published = assert_explained(drive.changes)
    bands = {
        (account, name): score["band"]
        for account, message in final.items()
        for name, score in message["scores"].items()
    }
    assert {key for key, band in bands.items() if band is not None} <= published.keys() <= bands.keys()
    # What falls at a boundary is published once the boundary has passed, not at its own moment.
    if drive.engine.as_of is not None and drive.engine.as_of != drive.engine.plan.boundary_at(drive.engine.as_of):
        for (account, name), change in published.items():
            assert (None if change.state else change.band_to) == final[account]["scores"][name]["band"]
    contents: dict[str, bytes] = {}
    for sent in drive.raw:
        assert contents.setdefault(msgspec.json.decode(sent)["id"], sent) == sent


@given(plausible_logs(partitions=1, **RICH), rich_policies())
def test_a_change_tells_contributions_at_nominal_weights(log: list[Record], policy_text: str) -> None:
    (records,) = partitions(log).values()
    drive = driven([Cut(records, Mode.CONFLATED, flush=False)], plan_of(policy_text))
    expected = final_scores_all(log, policy_text, NOW_MS)
    moves = [change for change in drive.changes if change.cause != "override"]
    valued = [score for account in expected.values() for score in account.scores.values() if score.value is not None]
    assert len(moves) == len(valued)
    for (account_id, name), change in assert_explained(drive.changes).items():
        assert_nominal(change, expected[account_id].scores[name])


def is_plausible(record: Sent) -> bool:
    """Deletions of profiles from the future are refused, like any record from the future."""
    stamp_ms = record.arrives_ms if record.timestamp_ms is None else record.timestamp_ms
    return record.source != "accounts" or record.value is not None or stamp_ms <= LATEST_MS


@given(st.data(), sent_records(partitions=1, **RICH), rich_policies(never_late=True, kept_bands=False))
def test_neither_order_nor_duplicates_matter_while_nothing_is_late(
    data: st.DataObject, sent: list[Sent], policy_text: str
) -> None:
    sent = [record for record in sent if is_plausible(record)]
    expected = final_scores_all(log_of(sent), policy_text, NOW_MS)
    for log in (log_of(sent), data.draw(rearranged(sent))):
        for records in partitions(log).values():
            drive = driven(data.draw(cuts(records)), plan_of(policy_text))
            assert_same_scores(messages_of(drive.engine), expected, policy_text)


# ---------------------------------------------------------------------------------------------------------------------
# Losing data

ANCHOR = {"id": "anchor", "account_id": "acme", "time": LATEST_MS}
VALUES = (("surveys", "score"), ("billing", "amount"), ("controls", "value"), ("signals", "value"))


@st.composite
def zero_when_missing(draw: DrawFn) -> str:
    """Draw a policy in which every measure is missing without events, and gives 0 points then."""
    lines = ['name = "zero"']
    for number in range(draw(st.integers(1, 4))):
        source, field = draw(st.sampled_from(VALUES))
        table: dict[str, Any] = {
            "source": source,
            "field": field,
            "stat": draw(st.sampled_from(("mean", "min", "max", "last"))),
            "window": draw(st.sampled_from(DAYS)),
            "normalise": draw(normalisers((-20, 60), decay=True)),
            "weight": draw(amounts(1, 10)),
            "missing": "zero",
        }
        lines += [f"[measures.m{number}]", *(f"{key} = {toml_value(value)}" for key, value in table.items())]
    return "\n".join([*lines, "[scores.health]", "min_change = 1", 'bands = [{ name = "all", from = 0 }]', ""])


@given(
    sent_records(partitions=1, delays_ms=(0,), backdated=False, invalid=False, profiles=False, sources=RICH["sources"]),
    zero_when_missing(),
    st.sampled_from([source for source, _ in VALUES]),
)
def test_losing_a_source_never_helps_when_missing_is_zero(sent: list[Sent], policy_text: str, lost: str) -> None:
    anchor = Sent("product-usage", 0, LATEST_MS + DAY_MS, b"acme", json.dumps(ANCHOR).encode())
    scores: list[dict[str, Message]] = []
    for records in ([*sent, anchor], [*(record for record in sent if record.source != lost), anchor]):
        drive = Drive(Engine(plan_of(policy_text)))
        drive.take(log_of(records))
        drive.flush()
        scores.append(messages_of(drive.engine))
    whole, less = scores
    for account, message in less.items():
        value, was = message["scores"]["health"]["value"], whole[account]["scores"]["health"]["value"]
        # Without data there is no score, and with billing an account may have lost its end.
        assert None in {value, was} or value <= was + 1e-9


@st.composite
def holding_when_missing(draw: DrawFn) -> tuple[str, bool]:
    """Draw a policy of measures that hold their last value for a year or give 0 points, and whether all hold."""
    lines, kinds = ['name = "hold"'], draw(st.lists(st.sampled_from(("hold", "hold", "zero")), min_size=1, max_size=4))
    for number, missing in enumerate(kinds):
        source, field = draw(st.sampled_from(VALUES))
        table: dict[str, Any] = {
            "source": source,
            "field": field,
            "stat": "last",
            "window": draw(st.sampled_from(DAYS)),
            "normalise": draw(normalisers((-20, 60), decay=True)),
            "weight": draw(amounts(1, 10)),
            "missing": missing,
            **({"stale_after": "365d"} if missing == "hold" else {}),
        }
        lines += [f"[measures.m{number}]", *(f"{key} = {toml_value(value)}" for key, value in table.items())]
    lines += ["[scores.health]", "min_change = 1", 'bands = [{ name = "all", from = 0 }]', ""]
    return "\n".join(lines), "zero" not in kinds


@given(
    sent_records(partitions=1, delays_ms=(0,), backdated=False, invalid=False, profiles=False, sources=RICH["sources"]),
    holding_when_missing(),
    st.lists(st.integers(1, 300), min_size=1, max_size=3).map(sorted),
)
def test_when_all_sources_end_no_score_that_holds_gets_better(
    sent: list[Sent], policy: tuple[str, bool], days: list[int]
) -> None:
    """All events are at most 40 days old, so that what is held is never older than a year."""
    policy_text, all_hold = policy
    drive = Drive(Engine(plan_of(policy_text)))
    drive.take(log_of(sent))
    drive.flush()
    before = messages_of(drive.engine)
    assert drive.engine.as_of is not None
    end_ms = drive.engine.as_of
    for later in days:
        drive.engine.advance_to(end_ms + later * DAY_MS)
        for account, message in messages_of(drive.engine).items():
            value, was = message["scores"]["health"]["value"], before[account]["scores"]["health"]["value"]
            if value is None or was is None:
                assert value is None, "time brings no data back"
                continue
            assert value <= was + 1e-9, (account, later)
            assert not all_hold or value >= was - 1e-9, (account, later)


# ---------------------------------------------------------------------------------------------------------------------
# Moving between segments

MOVING = """
name = "moving"
[segments.onboarding]
when = { days_since_start = { below = 90 } }
[segments.enterprise]
when = { tier = ["enterprise"] }
[measures.usage]
source = "product-usage"
stat = "count"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[measures.usage.segments.onboarding]
normalise = { kind = "linear", zero_at = 0, hundred_at = 5 }
[measures.usage.segments.enterprise]
normalise = { kind = "linear", zero_at = 0, hundred_at = 100 }
[scores.health]
min_change = 1
bands = [{ name = "all", from = 0 }]
"""
MIDNIGHT = NOW_MS // DAY_MS * DAY_MS


def arriving(*events: tuple[str, dict[str, Any]]) -> list[Record]:
    sent = [
        Sent(
            source,
            0,
            MIDNIGHT - DAY_MS + index,
            b"a",
            json.dumps({"id": str(index), "account_id": "a"} | event).encode(),
        )
        for index, (source, event) in enumerate(events)
    ]
    return log_of(sent)


def values_of(expected: dict[str, AccountScores]) -> dict[str, float | None]:
    return {account: message.scores["health"].value for account, message in expected.items()}


def test_an_account_grows_out_of_a_segment_at_midnight() -> None:
    started = MIDNIGHT - 90 * DAY_MS
    log = arriving(
        ("accounts", {"time": MIDNIGHT - 9 * DAY_MS, "started_at": started}),
        ("product-usage", {"time": MIDNIGHT - 3}),
        ("product-usage", {"time": MIDNIGHT - 2}),
        ("product-usage", {"time": MIDNIGHT + 5, "account_id": "b"}),
    )
    drive = driven([Cut(log, Mode.HEAD, flush=True)], plan_of(MOVING))
    mine = [change for change in drive.changes if change.account_id == "a"]
    assert [(change.to, change.time - MIDNIGHT, change.cause) for change in mine[-2:]] == [
        (40, -2, "event"),
        (20, 0, "segment"),
    ]
    assert values_of(final_scores_all(log, MOVING, NOW_MS)) == {"a": 20, "b": 10}


def test_a_profile_moves_its_account_when_it_is_read() -> None:
    log = arriving(
        ("product-usage", {"time": MIDNIGHT}),
        ("accounts", {"time": MIDNIGHT - 300 * DAY_MS, "tier": "enterprise"}),
    )
    drive = driven([Cut([record], Mode.HEAD, flush=True) for record in partitions(log)[0]], plan_of(MOVING))
    assert [(change.from_, change.to, change.cause) for change in drive.changes] == [
        (0, 10, "event"),
        (10, 1, "segment"),
    ]
    assert messages_of(drive.engine)["a"]["segment"] == "enterprise"
    assert_same_scores(messages_of(drive.engine), final_scores_all(log, MOVING, NOW_MS), MOVING)
