"""Percentiles among peers: the oracle's, however accounts are spread over partitions, over restarts and replays."""

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
from schemas.peers import PeersMessage, read_score
from stream.consumers.peer_values import PeerValues
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import PEERS, Batch
from stream.recovery import changelog
from stream.scoring.peers import MOST_VALUES, Peers, table_of
from tests.driving.engine import plan_of
from tests.oracle.peers import DAY_MS, ENTERPRISE, Happened, Known, When, percentile, percentile_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events import Event
    from stream.publishing.effects import Effects

FIRST_MS = 20_000 * DAY_MS
HOUR_MS = DAY_MS // 24
WINDOW, LEAST = 3, 3
POLICY = f"""
name = "peers"
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


def spread(values: list[float]) -> Any:
    """Ask a table of `values` as a partition task does."""
    peers = Peers(PLAN)
    table = table_of(PLAN.measures[0].measure, None, np.array(values))
    assert table is not None
    assert peers.apply(PeersMessage("1", 0, PLAN.label, [table]))

    def ask(wanted: Sequence[float]) -> list[float]:
        pairs = np.column_stack((np.array(wanted), np.full(len(wanted), np.nan)))
        return cast("list[float]", peers.with_percentiles(pairs, None)[:, 0].tolist())

    return ask


VALUES = st.one_of(st.integers(-3, 3).map(float), st.sampled_from((0.1, -0.0, 1e12, -1e12)), st.floats(-1e6, 1e6))


@given(st.lists(VALUES, min_size=1, max_size=60), st.lists(VALUES, min_size=1))
def test_a_table_of_few_values_is_exact(held: list[float], wanted: list[float]) -> None:
    exact = [percentile(Fraction(value), [Fraction(peer) for peer in held]) for value in wanted + held]
    assert spread(held)(wanted + held) == pytest.approx([float(one) for one in exact], abs=1e-9)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(MOST_VALUES + 1, 3_000), st.sampled_from((1, 3, 50)))
def test_a_table_of_many_values_is_near(seed: int, count: int, digits: int) -> None:
    # Some values many times, some once: what is held is close to each, and never goes down.
    chance = np.random.default_rng(seed)
    held = np.round(chance.standard_normal(count) ** 3 * 1000, digits)
    wanted = np.sort(np.concatenate((chance.choice(held, 200), chance.standard_normal(200) * 1000)))
    found = np.array(spread(held.tolist())(wanted.tolist()))
    smaller, upto = np.searchsorted(np.sort(held), wanted, "left"), np.searchsorted(np.sort(held), wanted, "right")
    assert np.abs(found - 50.0 * (smaller + upto) / count).max() < 0.4
    assert (np.diff(found) >= -1e-9).all()


def test_values_are_held_exactly_up_to_the_limit_and_ties_always() -> None:
    assert len(table_of(PLAN.measures[0].measure, None, np.arange(MOST_VALUES * 1.0)).values) == MOST_VALUES  # type: ignore[union-attr]
    # 1,000 different values once and one a thousand times: (500 + 500) of 2,000 at it, whatever was left out.
    values = [float(value) for value in range(1000)] + [499.5] * 1000
    table = table_of(PLAN.measures[0].measure, None, np.array(values))
    assert table is not None
    assert len(table.values) <= MOST_VALUES
    assert spread(values)([499.5, -1, 0, 999, 1000]) == pytest.approx([50, 0, 0.025, 99.975, 100])


@dataclass
class PartitionTask:
    """One partition as a worker runs it, with what it has told."""

    number: int
    engine: Engine
    keys: dict[bytes, bytes] = field(default_factory=dict)
    told: list[tuple[str, bytes]] = field(default_factory=list)
    changes: list[ScoreChange] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)

    def note(self, effects: Effects) -> None:
        self.told += [(message.key.decode(), message.value) for message in effects.scores]
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
        """Save, all of it or only the first records, and come back from what was saved."""
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
    for at, one in enumerate(happened):
        name = f"{base}-{at}"
        if one.score is None:
            usage.append(UsageEvent(name, one.account, one.time_ms))
        else:
            surveys.append(SurveyEvent(name, one.account, one.time_ms, "nps", float(one.score)))
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
    found = [msgspec.json.decode(sent.value, type=ScoreMessage) for sent in engine.current().scores]
    return {message.account_id: message for message in found}


class Company:
    """Lanes, the process that makes tables, and one engine that has all accounts."""

    def __init__(self, tasks: int) -> None:
        self.tasks = [PartitionTask(number, Engine(PLAN, owns=lambda _account: True)) for number in range(tasks)]
        self.alone = PartitionTask(-1, Engine(PLAN))
        self.namespace = PeerValues(PLAN, None)
        self.latest: dict[str, tuple[int, bytes]] = {}
        self.events: list[Happened] = []
        self.profiles: list[Known] = []
        self.table: PeersMessage | None = None

    def listen(self) -> None:
        for task in self.tasks:
            for account, value in task.told:
                self.latest[account] = (task.number, value)
                self.namespace.apply(task.number, account, read_score(value))
            task.told.clear()

    def deliver(self, mode: Mode, stamp: int) -> None:
        message = self.namespace.due()
        if message is None:
            return
        self.table = message
        for task in self.tasks:
            task.take([task.batch(PEERS, [message], stamp)], mode)

    def live(self, number: int, day: Day) -> None:
        """Let a day pass: events, the table of its midnight; stop at eight in the evening."""
        midnight = FIRST_MS + number * DAY_MS
        # Somebody somewhere is active every day, after an hour: else nothing tells that the midnight is over.
        rest = sorted(day.events, key=lambda event: event[1])
        happened = [Happened("a", midnight + HOUR_MS)]
        happened += [Happened(account, midnight + hour * HOUR_MS, score) for account, hour, score in rest]
        self.events += happened
        for task in (*self.tasks, self.alone):
            mine = [one for one in happened if self.owner(task, one.account)]
            usage, surveys = events_of(mine, number)
            # As `vitals score` gives them: each source by itself, in order of time by their stamps.
            task.take([task.batch("product-usage", usage, 2), task.batch("surveys", surveys, 2)], day.mode)
            if day.mode is not Mode.HEAD:
                task.note(task.engine.flush(day.mode))
        self.listen()
        self.deliver(day.mode, 3)
        for task in (*self.tasks, self.alone):
            task.caught_up(day.mode)
            task.note(task.engine.advance_to(midnight + 20 * HOUR_MS))
        self.listen()

    def owner(self, task: PartitionTask, account: str) -> bool:
        return task is self.alone or ACCOUNTS.index(account) % len(self.tasks) == task.number

    def sleep(self, number: int, day: Day) -> None:
        """Profiles in the night, and the next midnight by the clock; then restarts."""
        late = FIRST_MS + number * DAY_MS + 21 * HOUR_MS
        known = [Known(account, late + at, tier) for at, (account, tier) in enumerate(day.profiles)]
        self.profiles += known
        for task in (*self.tasks, self.alone):
            mine = [one for one in known if self.owner(task, one.account)]
            told = [ProfileEvent(f"p{one.time_ms}", one.account, one.time_ms, tier=one.tier) for one in mine]
            task.take([task.batch("accounts", told, 1)], Mode.HEAD)
            task.note(task.engine.tick(FIRST_MS + (number + 1) * DAY_MS))
        self.listen()
        for task, restarts in zip(self.tasks, day.restarts, strict=False):
            if restarts:
                task.restart()
        if day.namespace_restarts:
            self.namespace = PeerValues(PLAN, None if self.table is None else self.table.as_of)
            for account, (partition, value) in self.latest.items():
                self.namespace.load(partition, account, read_score(value))
            self.deliver(Mode.HEAD, 4)

    def assert_right(self, number: int) -> None:
        midnight = FIRST_MS + number * DAY_MS
        when = When(midnight, midnight + 20 * HOUR_MS, WINDOW, LEAST)
        together = {name: message for task in self.tasks for name, message in messages_of(task.engine).items()}
        alone = messages_of(self.alone.engine)
        assert together.keys() == alone.keys() == {event.account for event in self.events}
        for account, message in together.items():
            told = message.scores["health"]
            for at, (name, mean) in enumerate((("usage", False), ("opinion", True))):
                raw, right = percentile_at(self.events, self.profiles, account, when, mean=mean)
                where = (number, account, name)
                found = (message.raw or {})[name]
                assert found == (None if raw is None else pytest.approx(float(raw), abs=1e-9)), where
                expected = None if right is None else pytest.approx(float(right), abs=1e-9)
                assert told.factors[at].value == expected, where
                assert alone[account].scores["health"].factors[at].value == expected, where
            assert message.scores == alone[account].scores, account


@given(DAYS, st.integers(1, 3))
def test_lanes_and_files_say_what_the_oracle_says(days: list[Day], tasks: int) -> None:
    company = Company(tasks)
    for number, day in enumerate(days):
        company.live(number, day)
        company.assert_right(number)
        company.sleep(number, day)
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
def test_a_table_and_the_state_that_names_it_are_saved_together(partly: int | None) -> None:
    task = PartitionTask(0, Engine(PLAN, owns=lambda _account: True))
    task.take([task.batch("product-usage", events_of([Happened("a", FIRST_MS + 1)], 0)[0], 1)], Mode.HEAD)
    messages = []
    for number in range(4):
        table = table_of(PLAN.measures[0].measure, None, np.array([0.0, 1.0, 2.0 + number]))
        assert table is not None
        messages.append(PeersMessage(str(number), FIRST_MS - DAY_MS * (4 - number), PLAN.label, [table]))
    for message in messages[:2]:
        task.take([task.batch(PEERS, [message], 2)], Mode.HEAD)
        task.restart()
        assert task.engine.peers.message == message
    task.take([task.batch(PEERS, [messages[2]], 2)], Mode.HEAD)
    revision = messages_of(task.engine)["a"].revision
    task.restart(partly=partly)
    # Whatever was written: the table is the one of the position, and reading on brings the newest.
    settled = task.engine.position[PEERS]
    assert task.engine.peers.message == messages[settled - 1]
    task.offsets[PEERS] = settled
    task.take([task.batch(PEERS, messages[settled:3], 2)], Mode.HEAD)
    assert task.engine.peers.message == messages[2]
    assert messages_of(task.engine)["a"].revision == revision
    # All but two are forgotten when the next one is saved.
    task.take([task.batch(PEERS, messages[3:], 2)], Mode.HEAD)
    task.restart()
    assert b"t3" in task.keys
    assert sum(key[:1] == b"t" for key in task.keys) == 2
