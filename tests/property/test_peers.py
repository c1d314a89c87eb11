"""Percentiles among peers are the oracle's for any spread of accounts over partitions, with restarts and replays."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import ProfileEvent, SurveyEvent, UsageEvent
from schemas.outputs import ScoreChange, ScoreMessage
from schemas.peers import PeerScore, PeersMessage
from schemas.records import read_message
from schemas.sources import PEERS_INPUT
from stream.consumers.peer_values import PeerValues
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.recovery import changelog
from stream.scoring.peers import MOST_VALUES, Peers, table_of
from tests.driving.engine import plan_of
from tests.oracle.peers import DAY_MS, ENTERPRISE, Happened, Known, When, percentile, percentile_at
from tests.strategies.effort import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events import Event
    from stream.publishing.effects import Effects

FIRST_MS = 20_000 * DAY_MS
HOUR_MS = DAY_MS // 24
WINDOW, LEAST = 3, 3
POLICY = f"""
name = "peers"
[status]
dormant_after = "365d"
[segments.enterprise]
when = {{ tier = ["enterprise"] }}
[measures.usage]
source = "product-usage"
stat = "count"
window = "{WINDOW}d"
compare = "peers"
least_peers = {LEAST}
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 100 }}
weight = 2
missing = 50
[measures.opinion]
source = "surveys"
stat = "mean"
field = "score"
window = "{WINDOW}d"
compare = "peers"
least_peers = {LEAST}
normalise = {{ kind = "linear", zero_at = 100, hundred_at = 0 }}
weight = 1
[scores.health]
min_change = 0
bands = [{{ name = "all", from = 0 }}]
"""
PLAN = plan_of(POLICY)
ACCOUNTS = "abcdefgh"


def percentiles_in(values: list[float]) -> Any:
    """Return a function that reads percentiles from a table of `values`, as a partition task does."""
    peers = Peers(PLAN)
    table = table_of(PLAN.measures[0].measure, None, np.array(values))
    assert table is not None
    assert peers.apply(PeersMessage("1", 0, PLAN.label, [table]))

    def ask(asked: Sequence[float]) -> list[float]:
        pairs = np.column_stack((np.array(asked), np.full(len(asked), np.nan)))
        return cast("list[float]", peers.with_percentiles(pairs, None)[:, 0].tolist())

    return ask


VALUES = st.one_of(st.integers(-3, 3).map(float), st.sampled_from((0.1, -0.0, 1e12, -1e12)), st.floats(-1e6, 1e6))


@given(st.lists(VALUES, min_size=1, max_size=60), st.lists(VALUES, min_size=1))
def test_a_table_of_few_values_is_exact(values: list[float], asked: list[float]) -> None:
    exact = [percentile(Fraction(value), [Fraction(peer) for peer in values]) for value in asked + values]
    assert percentiles_in(values)(asked + values) == pytest.approx([float(percent) for percent in exact], abs=1e-9)


@settings(max_examples=examples(20))
@given(st.integers(0, 2**32 - 1), st.integers(MOST_VALUES + 1, 3_000), st.sampled_from((1, 3, 50)))
def test_a_table_of_many_values_is_approximate(seed: int, count: int, digits: int) -> None:
    # Some values occur many times, some once: each percentile is near the exact one, and they never decrease.
    chance = np.random.default_rng(seed)
    values = np.round(chance.standard_normal(count) ** 3 * 1000, digits)
    asked = np.sort(np.concatenate((chance.choice(values, 200), chance.standard_normal(200) * 1000)))
    percents = np.array(percentiles_in(values.tolist())(asked.tolist()))
    smaller, upto = np.searchsorted(np.sort(values), asked, "left"), np.searchsorted(np.sort(values), asked, "right")
    assert np.abs(percents - 50.0 * (smaller + upto) / count).max() < 0.4
    assert (np.diff(percents) >= -1e-9).all()


def test_a_table_has_all_values_up_to_the_limit_and_ties_stay_exact_above_it() -> None:
    assert len(table_of(PLAN.measures[0].measure, None, np.arange(MOST_VALUES * 1.0)).values) == MOST_VALUES  # type: ignore[union-attr]
    # 1,000 different values once and one value 1,000 times: its percentile is (500 + 500) of 2,000, also in a sample.
    values = [float(value) for value in range(1000)] + [499.5] * 1000
    table = table_of(PLAN.measures[0].measure, None, np.array(values))
    assert table is not None
    assert len(table.values) <= MOST_VALUES
    assert percentiles_in(values)([499.5, -1, 0, 999, 1000]) == pytest.approx([50, 0, 0.025, 99.975, 100])


@dataclass
class PartitionTask:
    """One partition as a worker runs it, with the scores and changes that it has published."""

    number: int
    engine: Engine
    keys: dict[bytes, bytes] = field(default_factory=dict)
    scores: list[tuple[str, bytes]] = field(default_factory=list)
    changes: list[ScoreChange] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)

    def note(self, effects: Effects) -> None:
        self.scores += [(message.key.decode(), message.value) for message in effects.scores]
        self.changes += [msgspec.json.decode(sent.value, type=ScoreChange) for sent in effects.changes]

    def batch(self, source: str, events: Sequence[Event | PeersMessage], stamp: int) -> Batch:
        first = self.offsets.get(source, 0)
        end = self.offsets[source] = first + len(events)
        stamps = np.full(len(events), stamp)
        return Batch(source, np.arange(first, end), stamps, cast("list[Event]", list(events)), end)

    def take(self, batches: list[Batch], mode: Mode) -> None:
        self.note(self.engine.step(batches, mode, None))

    def caught_up(self, mode: Mode) -> None:
        if mode is Mode.CONFLATED:
            self.note(self.engine.flush(mode))
            self.note(self.engine.caught_up())
        self.note(self.engine.flush(Mode.HEAD))

    def restart(self, *, partly: int | None = None) -> None:
        """Save the state, all of it or only the first `partly` records, and restore an engine from what was saved."""
        before = dict(self.engine.position)
        for key, value in changelog.snapshot(self.engine)[:partly]:
            if value is None:
                self.keys.pop(key, None)
            else:
                self.keys[key] = value
        engine = Engine(PLAN, owns=lambda _account: True)
        changelog.restore(engine, self.keys)
        if partly is None:
            assert engine.position == before
        self.engine = engine


def events_of(happened: Sequence[Happened], base: int) -> tuple[list[Event], list[Event]]:
    usage: list[Event] = []
    surveys: list[Event] = []
    for index, event in enumerate(happened):
        event_id = f"{base}-{index}"
        if event.score is None:
            usage.append(UsageEvent(event_id, event.account, event.time_ms))
        else:
            surveys.append(SurveyEvent(event_id, event.account, event.time_ms, "nps", float(event.score)))
    return usage, surveys


@dataclass(frozen=True)
class Day:
    events: list[tuple[str, int, int | None]]
    """Account, hour, score of a survey."""
    profiles: list[tuple[str, str]]
    mode: Mode
    restarts: list[bool]
    namespace_restarts: bool


DAYS = st.lists(
    st.builds(
        Day,
        st.lists(st.tuples(st.sampled_from(ACCOUNTS), st.integers(2, 19), st.none() | st.integers(0, 10)), max_size=12),
        st.lists(st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from((ENTERPRISE, "free"))), max_size=4),
        st.sampled_from(tuple(Mode)),
        st.lists(st.booleans(), min_size=3, max_size=3),
        st.booleans(),
    ),
    min_size=2,
    max_size=6,
)


def messages_of(engine: Engine) -> dict[str, ScoreMessage]:
    messages = [msgspec.json.decode(sent.value, type=ScoreMessage) for sent in engine.current().scores]
    return {message.account_id: message for message in messages}


class Company:
    """Partition tasks, the process that publishes tables of peers, and one engine that has all accounts."""

    def __init__(self, tasks: int) -> None:
        self.tasks = [PartitionTask(number, Engine(PLAN, owns=lambda _account: True)) for number in range(tasks)]
        self.alone = PartitionTask(-1, Engine(PLAN))
        self.namespace = PeerValues(PLAN, None)
        self.latest: dict[str, tuple[int, bytes]] = {}
        self.events: list[Happened] = []
        self.profiles: list[Known] = []
        self.table: PeersMessage | None = None

    def read_scores(self) -> None:
        for task in self.tasks:
            for account, value in task.scores:
                self.latest[account] = (task.number, value)
                self.namespace.apply(task.number, account, read_message(PeerScore, value))
            task.scores.clear()

    def deliver(self, mode: Mode, stamp: int) -> None:
        message = self.namespace.due()
        if message is None:
            return
        self.table = message
        for task in self.tasks:
            task.take([task.batch(PEERS_INPUT, [message], stamp)], mode)

    def run_day(self, number: int, day: Day) -> None:
        """Process the events of a day and the table of its midnight, until 20:00."""
        midnight = FIRST_MS + number * DAY_MS
        # One account is active at 01:00 every day: without an event after midnight no table of it is due.
        rest = sorted(day.events, key=lambda event: event[1])
        happened = [Happened("a", midnight + HOUR_MS)]
        happened += [Happened(account, midnight + hour * HOUR_MS, score) for account, hour, score in rest]
        self.events += happened
        for task in (*self.tasks, self.alone):
            mine = [event for event in happened if self.owner(task, event.account)]
            usage, surveys = events_of(mine, number)
            # In the order of `vitals score`: source by source, in the order of their timestamps.
            task.take([task.batch("product-usage", usage, 2), task.batch("surveys", surveys, 2)], day.mode)
            if day.mode is not Mode.HEAD:
                task.note(task.engine.flush(day.mode))
        self.read_scores()
        self.deliver(day.mode, 3)
        for task in (*self.tasks, self.alone):
            task.caught_up(day.mode)
            task.note(task.engine.advance_to(midnight + 20 * HOUR_MS))
        self.read_scores()

    def owner(self, task: PartitionTask, account: str) -> bool:
        return task is self.alone or ACCOUNTS.index(account) % len(self.tasks) == task.number

    def run_night(self, number: int, day: Day) -> None:
        """Process profiles at night and the next midnight by the clock, then restart."""
        late = FIRST_MS + number * DAY_MS + 21 * HOUR_MS
        known = [Known(account, late + index, tier) for index, (account, tier) in enumerate(day.profiles)]
        self.profiles += known
        for task in (*self.tasks, self.alone):
            mine = [profile for profile in known if self.owner(task, profile.account)]
            events = [
                ProfileEvent(f"p{profile.time_ms}", profile.account, profile.time_ms, tier=profile.tier)
                for profile in mine
            ]
            task.take([task.batch("accounts", events, 1)], Mode.HEAD)
            task.note(task.engine.tick(FIRST_MS + (number + 1) * DAY_MS))
        self.read_scores()
        for task, restarts in zip(self.tasks, day.restarts, strict=False):
            if restarts:
                task.restart()
        if day.namespace_restarts:
            self.namespace = PeerValues(PLAN, None if self.table is None else self.table.as_of)
            for account, (partition, value) in self.latest.items():
                self.namespace.load(partition, account, read_message(PeerScore, value))
            self.deliver(Mode.HEAD, 4)

    def assert_as_oracle(self, number: int) -> None:
        midnight = FIRST_MS + number * DAY_MS
        when = When(midnight, midnight + 20 * HOUR_MS, WINDOW, LEAST)
        together = {name: message for task in self.tasks for name, message in messages_of(task.engine).items()}
        alone = messages_of(self.alone.engine)
        assert together.keys() == alone.keys() == {event.account for event in self.events}
        for account, message in together.items():
            health = message.scores["health"]
            for index, (name, mean) in enumerate((("usage", False), ("opinion", True))):
                raw, percent = percentile_at(self.events, self.profiles, account, when, mean=mean)
                where = (number, account, name)
                value = (message.raw or {})[name]
                assert value == (None if raw is None else pytest.approx(float(raw), abs=1e-9)), where
                expected = None if percent is None else pytest.approx(float(percent), abs=1e-9)
                assert health.factors[index].value == expected, where
                assert alone[account].scores["health"].factors[index].value == expected, where
            assert message.scores == alone[account].scores, account


@given(DAYS, st.integers(1, 3))
def test_partition_tasks_and_a_replay_give_the_percentiles_of_the_oracle(days: list[Day], tasks: int) -> None:
    company = Company(tasks)
    for number, day in enumerate(days):
        company.run_day(number, day)
        company.assert_as_oracle(number)
        company.run_night(number, day)
    for task in (*company.tasks, company.alone):
        last: dict[str, ScoreChange] = {}
        for change in task.changes:
            before = last.get(change.account_id)
            assert change.from_ == (before.to if before else 0)
            assert sum(factor.delta for factor in change.factors) == pytest.approx(change.to - change.from_, abs=1e-9)
            last[change.account_id] = change
        for account, message in messages_of(task.engine).items():
            assert last[account].to == pytest.approx(message.scores["health"].value, abs=1e-9)


@pytest.mark.parametrize("partly", [None, *range(12)])
def test_a_table_and_the_position_after_it_are_saved_together(partly: int | None) -> None:
    task = PartitionTask(0, Engine(PLAN, owns=lambda _account: True))
    task.take([task.batch("product-usage", events_of([Happened("a", FIRST_MS + 1)], 0)[0], 1)], Mode.HEAD)
    messages = []
    for number in range(4):
        table = table_of(PLAN.measures[0].measure, None, np.array([0.0, 1.0, 2.0 + number]))
        assert table is not None
        messages.append(PeersMessage(str(number), FIRST_MS - DAY_MS * (4 - number), PLAN.label, [table]))
    for message in messages[:2]:
        task.take([task.batch(PEERS_INPUT, [message], 2)], Mode.HEAD)
        task.restart()
        assert task.engine.peers.message == message
    task.take([task.batch(PEERS_INPUT, [messages[2]], 2)], Mode.HEAD)
    revision = messages_of(task.engine)["a"].revision
    task.restart(partly=partly)
    # After any partial write the table is the one of the saved position, and reading on gives the newest.
    position = task.engine.position[PEERS_INPUT]
    assert task.engine.peers.message == messages[position - 1]
    task.offsets[PEERS_INPUT] = position
    task.take([task.batch(PEERS_INPUT, messages[position:3], 2)], Mode.HEAD)
    assert task.engine.peers.message == messages[2]
    assert messages_of(task.engine)["a"].revision == revision
    # A save keeps the records of two tables and deletes the older ones.
    task.take([task.batch(PEERS_INPUT, messages[3:], 2)], Mode.HEAD)
    task.restart()
    assert b"t3" in task.keys
    assert sum(key[:1] == b"t" for key in task.keys) == 2
