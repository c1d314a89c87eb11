"""Plans, records and policies of rounds: the same for the same seed, of every kind, and as the oracle needs them."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations

import pytest

from tests.driving.engine import plan_of
from tests.faults import verdict
from tests.faults.events import END_MS, RULES, USAGE, event
from tests.faults.topic_log import Message, Stored, partition_of
from tests.oracle import alerts as oracle_alerts
from tests.oracle import engine as oracle
from tests.torture.closing import closing_records, open_rule_differences
from tests.torture.input import ACCOUNTS, FUTURE_MS, MISTAKES
from tests.torture.plan import KINDS, NAMES, Plan, draw_plan, kinds_of
from tests.torture.policies import FIXED, RANDOM
from tests.torture.shrink import smallest

SEEDS = range(40)
NOW_MS = FUTURE_MS - 10 * 365 * 86_400_000


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    return [draw_plan(seed, count=400) for seed in SEEDS]


def log_of(messages: list[Message]) -> verdict.InputLog:
    """Give the records their partitions and offsets, as a broker does."""
    ends = Counter[tuple[str, int]]()
    topics: dict[str, list[Stored]] = {topic: [] for topic in verdict.INPUTS}
    for message in messages:
        partition = message.partition
        if partition is None:
            assert message.key is not None
            partition = partition_of(message.key)
        offset = ends[message.topic, partition]
        ends[message.topic, partition] += 1
        stored = Stored(message.topic, partition, offset, message.timestamp_ms, message.key, message.value, ())
        topics[message.topic].append(stored)
    return verdict.InputLog(topics, NOW_MS)


def is_forwarded(message: Message) -> bool:
    """Whether the record is in another partition than its account's: a number counts as an id, of other digits."""
    if message.partition is not None:
        return True
    assert message.key is not None
    try:
        account = json.loads(message.value or b"")["account_id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return type(account) in {str, int} and partition_of(str(account).encode()) != partition_of(message.key)


def test_the_same_seed_gives_the_same_plan() -> None:
    assert draw_plan(7) == draw_plan(7)
    assert draw_plan(7).lines() == draw_plan(7).lines()
    assert draw_plan(7) != draw_plan(8)


def test_every_kind_is_drawn(plans: list[Plan]) -> None:
    assert {fault.kind for plan in plans for fault in plan.faults} == set(KINDS)
    assert {len(plan.workers) for plan in plans} == {1, 2, 3}
    assert {plan.policy.name for plan in plans} == {RANDOM, *(policy.name for policy in FIXED)}
    assert {plan.waits for plan in plans} == {True, False}
    assert {mistake for plan in plans for mistake, _ in plan.input.mistakes} == set(MISTAKES)
    assert any(message.topic == ACCOUNTS and message.value is None for plan in plans for message in plan.input.records)


def test_faults_of_one_resource_do_not_overlap_and_end_in_time(plans: list[Plan]) -> None:
    for plan in plans:
        for fault, other in combinations(plan.faults, 2):
            assert fault.resource != other.resource or fault.end_s < other.at_s or other.end_s < fault.at_s
        assert all(0 <= fault.at_s < fault.end_s <= 20 for fault in plan.faults)
        assert {fault.worker for fault in plan.faults} <= {None, *plan.workers}
        assert plan.workers == NAMES[: len(plan.workers)]


def test_faults_of_different_resources_overlap(plans: list[Plan]) -> None:
    assert any(fault.at_s < other.at_s < fault.end_s for plan in plans for fault, other in combinations(plan.faults, 2))


def test_policies_are_valid_and_name_their_longest_window(plans: list[Plan]) -> None:
    for plan in plans:
        plan_of(plan.policy.text)
        measures = oracle.read_policy(plan.policy.text).event_measures
        assert max(measure.reach * measure.pane_ms for measure in measures) >= plan.policy.longest_ms


def test_no_record_is_too_late_whenever_it_is_read(plans: list[Plan]) -> None:
    """Late by at most a quarter of the longest window, live ones within another, forwarded ones in the last half."""
    for plan in plans:
        log = log_of(plan.input.records)
        assert not log.outcomes(plan.policy.text)["late"]
        longest_ms = plan.policy.longest_ms
        assert all(message.timestamp_ms >= END_MS - longest_ms // 4 for piece in plan.input.live for message in piece)
        for message in plan.input.records:
            assert not is_forwarded(message) or message.timestamp_ms > END_MS - longest_ms // 2


def test_records_have_every_outcome(plans: list[Plan]) -> None:
    outcomes = sum((log_of(plan.input.records).outcomes(plan.policy.text) for plan in plans), Counter[str]())
    assert outcomes.keys() == {"applied", "rejected", "duplicate", "forwarded"}
    assert outcomes["applied"] > outcomes.total() / 2


def test_a_plan_with_chosen_faults_only() -> None:
    plan = next(plan for plan in map(draw_plan, SEEDS) if len(plan.faults) > 3)
    assert plan.only([1, 3]).faults == (plan.faults[0], plan.faults[2])
    assert plan.only([1, 3]).input == plan.input
    assert kinds_of(plan.only([2])) == f"{plan.faults[1].kind} 1"


@pytest.mark.parametrize("guilty", [set(), {3}, {2, 7}, {0, 4, 9}])
def test_the_smallest_plan_that_fails_has_the_guilty_faults_only(guilty: set[int]) -> None:
    assert set(smallest(range(10), lambda left: guilty <= set(left), 100)) == guilty


def test_shrinking_ends_after_so_many_tries() -> None:
    tried: list[tuple[int, ...]] = []

    def fails(left: tuple[int, ...]) -> bool:
        tried.append(left)
        return {2, 7} <= set(left)

    left = smallest(range(10), fails, 3)
    assert len(tried) == 3
    assert {2, 7} <= set(left)


def test_after_six_quiet_days_the_oracle_has_the_alerts_that_a_round_expects() -> None:
    usage = [
        event(USAGE, f"u{number}", f"acct-{number % 9}", END_MS - number * 3_600_000, user_id=f"p{number % 5}")
        for number in range(60, 0, -1)
    ]
    log = log_of([*usage, *closing_records()])
    open_at = oracle_alerts.alerts_at_boundaries(log.records, RULES, NOW_MS)
    last = {partition: max(at_ms for number, at_ms in open_at if number == partition) for partition, _ in open_at}
    open_pairs = sorted(pair for partition, at_ms in last.items() for pair in open_at[partition, at_ms])
    alerts = [{"account_id": account, "rule": rule, "status": "firing"} for account, rule in open_pairs]
    assert open_rule_differences(log, RULES, alerts) == []
    fewer = [alert for alert in alerts if alert["rule"] != "quiet"]
    assert open_rule_differences(log, RULES, fewer) == [f"acct-{number}: quiet is not open" for number in range(9)]
    gone = log_of([*usage, Message(ACCOUNTS, b"acct-3", None, END_MS), *closing_records()])
    assert open_rule_differences(gone, RULES, [alert for alert in alerts if alert["account_id"] != "acct-3"]) == []
    fallen = {"account_id": "acct-1", "rule": "fall", "status": "firing"}
    assert open_rule_differences(log, RULES, [*alerts, fallen]) == ["acct-1: fall is open"]
