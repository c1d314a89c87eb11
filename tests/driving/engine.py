"""Engines driven over a log of records the way a worker drives them: cut anywhere, in any mode, watched at boundaries.

Owns the way from the log's records to batches (the worker's own) and from the engine's messages back to what the oracle
says. Must not know any expected value. Called by the property tests.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from hypothesis import strategies as st

from agents.kafka.source_records import read
from schemas.outputs import Alert, ScoreChange, ScoreMessage
from schemas.sources import BUILT_IN, Sources
from schemas.topics import ORIGIN_HEADER
from stream.accounts.alert_lifecycle import is_open
from stream.engine.engine import Engine, Mode
from stream.ingest.merge import Fetch, Merge
from stream.plan.plan import Plan, compile_plan
from stream.policy.policy import parse_policy
from stream.publishing.trigger import Trigger
from stream.recovery import changelog
from stream.recovery.published_alerts import position_of
from stream.recovery.reconciler import Reconciler
from tests.oracle.engine import AccountScore, Record, merged
from tests.strategies.events import PROPERTIES
from tests.strategies.policies import LATEST_MS, NOW_MS, logs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

    from stream.columns.columns import Rows
    from stream.publishing.effects import Effects

CATCHING_UP = (Mode.EXACT, Mode.CONFLATED)
CLOSE = 1e-9


def plan_of(policy_text: str) -> Plan:
    return compile_plan(parse_policy(policy_text, "policy.toml"))


def fetch_of(records: Sequence[Record], sources: Sources = BUILT_IN) -> Fetch:
    """What a worker makes of records that it fetched together from one source partition."""
    fetched = [
        SimpleNamespace(
            offset=record.offset,
            timestamp=record.timestamp_ms,
            key=record.key,
            value=record.value,
            headers=[] if record.origin is None else [(ORIGIN_HEADER, record.origin.encode())],
        )
        for record in records
    ]
    name = records[0].source  # of a source that a policy adds, else the topic, which is named like a built-in source
    topic = sources[name].topic if name in sources else name
    properties = dict.fromkeys(sources.of_events, PROPERTIES)
    return read(sources, topic, fetched, fetched[-1].offset + 1, properties)


def fetches_of(records: Sequence[Record], sources: Sources = BUILT_IN) -> list[Fetch]:
    """One fetch a source, each in the order of its offsets."""
    by_source: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.offset):
        by_source.setdefault(record.source, []).append(record)
    return [fetch_of(of_source, sources) for of_source in by_source.values()]


class AtBoundaries(Engine):
    """An engine that is looked at whenever all accounts have been scored at a boundary."""

    def _publish(self, rows: Rows, mode: Mode, effects: Effects, trigger: Trigger, *more: Any, **named: Any) -> None:
        super()._publish(rows, mode, effects, trigger, *more, **named)
        assert self.as_of is not None
        if (
            trigger is not Trigger.EVENTS
            and mode is not Mode.CONFLATED
            and self.as_of == self.plan.boundary_at(self.as_of)
        ):
            self.look(self.as_of, effects)

    def look(self, boundary_ms: int, effects: Effects) -> None:
        """Take note of what there is to see."""


class Watched(AtBoundaries):
    """An engine that stores every account's score and the open alerts at each window boundary."""

    def __init__(self, plan: Plan, *, dedup_ids: int | None = 200_000) -> None:
        super().__init__(plan, dedup_ids=dedup_ids)
        self.boundaries: dict[int, dict[str, AccountScore]] = {}
        self.open_at: dict[int, set[tuple[str, str]]] = {}

    def look(self, boundary_ms: int, effects: Effects) -> None:
        del effects
        self.boundaries[boundary_ms] = scores_of(self)
        self.open_at[boundary_ms] = open_episodes(self)


def open_episodes(engine: Engine) -> set[tuple[str, str]]:
    """(account, rule) of every alert that is firing, as the engine's rows have it."""
    accounts = engine.accounts
    rows, rules = np.nonzero(is_open(accounts.alerts.phase[: len(accounts)]))
    pairs = zip(rows.tolist(), rules.tolist(), strict=True)
    return {(accounts.index.names[row], engine.plan.rules[rule].name) for row, rule in pairs}


def scores_of(engine: Engine) -> dict[str, AccountScore]:
    """Every account's score now, from the messages that the engine would publish."""
    return {
        message.account_id: _account_score(message)
        for message in (msgspec.json.decode(sent.value, type=ScoreMessage) for sent in engine.current().scores)
    }


def _account_score(message: ScoreMessage) -> AccountScore:
    (score,) = message.scores.values()
    factors = [(factor.measure, factor.value, factor.points, factor.contribution) for factor in score.factors]
    return AccountScore(score.value, score.band, factors)


def assert_same(actual: dict[str, AccountScore], expected: dict[str, AccountScore], where: object = "") -> None:
    """Fail unless scores, bands and factors are the same within 1e-9."""
    assert actual.keys() == expected.keys(), where
    for account, score in expected.items():
        mine = actual[account]
        assert mine.band == score.band, (where, account, mine, score)
        if mine.value is None or score.value is None:
            assert mine.value is score.value, (where, account, mine, score)
            continue
        assert abs(mine.value - score.value) <= CLOSE, (where, account, mine, score)
        assert abs(sum(factor[3] for factor in mine.factors) - mine.value) <= CLOSE, (where, account, mine)
        for (name, *numbers), (wanted_name, *wanted) in zip(mine.factors, score.factors, strict=True):
            assert name == wanted_name
            for number, right in zip(numbers, wanted, strict=True):
                assert (number is None) == (right is None), (where, account, name, mine, score)
                if number is not None and right is not None:
                    assert abs(number - right) <= CLOSE * max(1.0, abs(right)), (where, account, name, mine, score)


_ERASED = b'{"id":"erased","erased":'


def erasure(account: bytes) -> bytes:
    """The form of a tombstone among messages that were sent."""
    return _ERASED + msgspec.json.encode(account.decode()) + b"}"


def erased_in(value: bytes) -> bytes | None:
    """The account of a tombstone, None for any other message."""
    return msgspec.json.decode(value)["erased"].encode() if value.startswith(_ERASED) else None


@dataclass
class Drive:
    """One partition's engine, its queue of records, and everything that it has published."""

    engine: Engine
    merge: Merge = field(init=False)
    mode: Mode = Mode.HEAD
    scores: list[ScoreMessage] = field(default_factory=list)
    changes: list[ScoreChange] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    raw: list[bytes] = field(default_factory=list)
    """Erasures, changes and alerts as they were sent."""
    topic: dict[bytes, bytes] = field(default_factory=dict)
    """The changelog, compacted."""
    positions: list[bytes] = field(default_factory=list)
    """How far the engine had come when it published each alert."""
    reconciler: Reconciler = field(default_factory=Reconciler)
    """What was published before a crash."""
    ends_of_sources: list[int] | None = None

    def __post_init__(self) -> None:
        self.merge = Merge(self.engine.sources)
        if self.engine.catching_up:
            self.mode = Mode.CONFLATED

    def note(self, effects: Effects) -> None:
        self.reconciler.hold_back(effects)
        self.positions += [position_of(self.engine)] * len(effects.alerts)
        self.scores += [msgspec.json.decode(sent.value, type=ScoreMessage) for sent in effects.scores]
        self.changes += [msgspec.json.decode(sent.value, type=ScoreChange) for sent in effects.changes]
        self.alerts += [msgspec.json.decode(sent.value, type=Alert) for sent in effects.alerts]
        self.raw += [erasure(each.account) for each in effects.erased if not each.in_changes]
        self.raw += [sent.value for sent in (*effects.changes, *effects.alerts)]
        self.outcomes += effects.outcomes

    def reconcile(self) -> None:
        """Reconcile with what was published before a crash, as far as the engine has come."""
        effects = self.reconciler.reconcile(self.engine, self.mode, ends_of_sources=self.ends_of_sources, now_ms=NOW_MS)
        if effects is not None:
            self.note(effects)

    def take(self, records: Sequence[Record]) -> None:
        """Apply records whose predecessors have all been taken."""
        self.reconcile()
        for fetch in fetches_of(records, self.engine.sources):
            self.merge.add(fetch)
        if batches := self.merge.release(lambda _source: False):
            self.note(self.engine.step(batches, self.mode, NOW_MS))

    def turn_to(self, mode: Mode) -> None:
        """Begin to catch up, or arrive at the head, as the processor does."""
        if mode is not Mode.CONFLATED and self.mode is Mode.CONFLATED:
            self.note(self.engine.caught_up())
        elif mode is Mode.HEAD and self.mode is Mode.EXACT:
            self.note(self.engine.flush(Mode.HEAD))
        self.mode = mode

    def flush(self) -> None:
        self.note(self.engine.flush(self.mode))

    def save(self) -> None:
        """Commit the state."""
        self.flush()
        for key, value in changelog.snapshot(self.engine):
            if value is None:
                self.topic.pop(key, None)
            else:
                self.topic[key] = value


@dataclass(frozen=True)
class Cut:
    """Records taken together, the mode they are taken in, and whether everything held back is flushed after them."""

    records: list[Record]
    mode: Mode
    flush: bool


@st.composite
def cuts(
    draw: DrawFn, records: Sequence[Record], modes: Sequence[Mode] = tuple(Mode), *, largest: int = 30
) -> list[Cut]:
    """Cut one partition's records, in merged order, into steps."""
    size = st.one_of(st.integers(1, 3), st.integers(1, largest))
    drawn: list[Cut] = []
    start = 0
    while start < len(records):
        count = draw(size)
        drawn.append(Cut(list(records[start : start + count]), draw(st.sampled_from(modes)), draw(st.booleans())))
        start += count
    return drawn


def driven(steps: Iterable[Cut], plan: Plan, *, kind: type[Engine] = Engine) -> Drive:
    """Take all steps and arrive at the head."""
    drive = Drive(kind(plan))
    for step in steps:
        drive.turn_to(step.mode)
        drive.take(step.records)
        if step.flush:
            drive.flush()
    drive.turn_to(Mode.HEAD)
    drive.flush()
    return drive


def partitions(log: Iterable[Record], added: Iterable[str] = ()) -> dict[int, list[Record]]:
    """The records of each partition in merged order; `added` are the sources that a policy adds."""
    return merged(log, added)


def plausible_logs(**disturbances: Any) -> SearchStrategy[list[Record]]:
    """`logs` without deletions of profiles from the future, which a worker refuses like any record from the future."""

    def plausible(log: list[Record]) -> list[Record]:
        return [
            record
            for record in log
            if record.source != "accounts" or record.value is not None or record.timestamp_ms <= LATEST_MS
        ]

    return logs(**disturbances).map(plausible)
