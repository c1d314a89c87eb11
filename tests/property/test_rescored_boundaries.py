"""Accounts that wait at a window boundary are published as if all had been scored at once, whatever comes between."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.engine.engine import Engine, Mode
from tests.driving.engine import Cut, Drive, cuts, partitions, plan_of, plausible_logs
from tests.strategies.bands import restless_policies
from tests.strategies.effort import examples
from tests.strategies.policies import Sent, log_of, policies
from tests.strategies.rich_policies import rich_policies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stream.plan.plan import Plan
    from tests.oracle.engine import Record

TURNS = st.lists(st.integers(1, 3), max_size=3)
"""How many accounts are scored at once, of those that wait, between two steps."""
DAY_MS = 86_400_000
FIRST_MS = 20_000 * DAY_MS
IDLE_POLICY = """
name = "idle"
[measures.usage]
source = "product-usage"
stat = "count"
window = "3d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 4 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "fine", from = 50 }, { name = "poor", from = 0, alert = "warning" }]
[sources.product-usage]
stall_after = "2d"
"""


def usage(number: int, account: str, day: int) -> Sent:
    """An event of product usage that arrives in partition 0 at its time."""
    time_ms = FIRST_MS + day * DAY_MS + number
    value = json.dumps({"id": f"e-{number}", "account_id": account, "time": time_ms}).encode()
    return Sent("product-usage", 0, time_ms, account.encode(), value)


def published(drive: Drive) -> dict[str, list[object]]:
    """What was sent of each account, in order, by kind."""
    sent: dict[str, list[object]] = defaultdict(list)
    for messages in (drive.scores, drive.changes, drive.alerts):
        for message in messages:
            sent[f"{type(message).__name__} {message.account_id}"].append(message)
    return dict(sent)


def assert_the_same(plan: Plan, steps: Sequence[Cut], turns: Callable[[], list[int]]) -> None:
    """Drive two engines; of one, accounts wait at boundaries and are scored some at a time between the steps."""
    whole, waiting = Drive(Engine(plan)), Drive(Engine(plan, most_at_once=0))
    for step in steps:
        for drive in (whole, waiting):
            drive.turn_to(step.mode)
            drive.take(step.records)
        for most in turns():
            waiting.note(waiting.engine.rescore_next(most))
        if step.flush:
            whole.save()
            waiting.save()
    for drive in (whole, waiting):
        drive.turn_to(Mode.HEAD)
        drive.note(drive.engine.tick((drive.engine.as_of or 0) + DAY_MS))
        drive.save()
    assert published(waiting).keys() == published(whole).keys()
    for what, messages in published(whole).items():
        assert published(waiting)[what] == messages, what
    assert waiting.topic == whole.topic
    assert waiting.outcomes == whole.outcomes


@settings(max_examples=examples(60))
@given(st.data(), plausible_logs(), st.one_of(policies(), restless_policies(), rich_policies()))
def test_what_waits_at_a_boundary_is_published_as_if_at_once(
    data: st.DataObject, log: list[Record], policy_text: str
) -> None:
    plan = plan_of(policy_text)
    for records in partitions(log).values():
        modes = (Mode.HEAD, Mode.HEAD, *Mode)
        assert_the_same(plan, data.draw(cuts(records, modes, largest=8)), lambda: data.draw(TURNS))


@settings(max_examples=examples(60))
@given(st.data())
def test_a_source_that_is_back_after_it_was_idle_moves_no_account_that_waits(data: st.DataObject) -> None:
    days = data.draw(st.lists(st.integers(0, 12), min_size=2, max_size=12).map(sorted))
    names = [data.draw(st.sampled_from(("acme", "birch", "cedar"))) for _ in days]
    sent = [usage(number, name, day) for number, (day, name) in enumerate(zip(days, names, strict=True))]
    for records in partitions(log_of(sent)).values():
        steps = data.draw(cuts(records, (Mode.HEAD,), largest=3))
        assert_the_same(plan_of(IDLE_POLICY), steps, lambda: data.draw(TURNS))
