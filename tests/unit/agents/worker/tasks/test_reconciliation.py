"""A worker that takes over a partition: what it does before and after it has reconciled with what was published."""

# long because: the worker that takes over is made at the top, and every test is about that one takeover
from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
import pytest
from kafka import TopicPartition
from kafka.errors import CorruptRecordError

from agents.settings.settings import Settings
from agents.worker.commit.checkpoint import Checkpointer
from agents.worker.monitoring.metrics import Telemetry
from agents.worker.tasks import processor as processors
from agents.worker.tasks import published
from agents.worker.tasks.clock import BrokerClock
from agents.worker.tasks.processor import Processor
from schemas.codecs import encode
from schemas.outputs import Alert, ScoreChange
from schemas.sources import BUILT_IN
from schemas.topics import ALERTS, CHANGES, SCORES
from stream.engine.engine import Mode
from stream.recovery.published_alerts import position_of
from stream.recovery.reconciler import Reconciler, Tail
from tests.driving.alert_histories import DAY, START, rule
from tests.driving.engine import fetches_of
from tests.driving.generations import Generations, one_change_each, saved, tail_of

if TYPE_CHECKING:
    from agents.worker.commit.outbox import Outbox
    from agents.worker.tasks.task import PartitionTask
    from stream.publishing.effects import Message
    from tests.oracle.engine import Record

GHOST = Alert("i", "f", "ghost", "r", "warning", "firing", 2**47, 1.0, "poor", "ghost is low", {}, {})
"""An alert that is firing for an account that no worker knows, of a time that never comes."""


class Posted:
    """An outbox whose broker has acknowledged everything; each topic had `before` records already."""

    def __init__(self, *, before: int = 0) -> None:
        self.records: dict[str, list[Message[Any]]] = {}
        self.before = before

    def put(self, topic: str, partition: int, records: list[Message[Any]]) -> None:
        assert partition == 0
        self.records.setdefault(topic, []).extend(records)

    def count(self, topic: str, _partition: int) -> int:
        return len(self.records.get(topic, []))

    def end(self, _topic: str, _partition: int, count: int) -> int | None:
        return self.before + count if count else None

    async def drained(self, _topics: object) -> None:
        pass

    async def room(self) -> None:
        pass


class Clock(BrokerClock):
    """A clock that stands still."""

    def __init__(self, now_ms: int) -> None:
        super().__init__()
        self._at_ms = now_ms

    def now_ms(self) -> int:
        return self._at_ms


def opened(
    scenario: Generations,
    outbox: Posted,
    tails: dict[str, Tail] | None,
    *,
    time: Literal["live", "event"] = "event",
    day: float = 50,
) -> tuple[Processor, PartitionTask]:
    """A worker that takes the scenario's partition over on a day; its task runs unless `tails` is None."""
    settings = Settings(partitions=1, time=time)
    clock = Clock(START + round(day * DAY))
    processor = Processor(scenario.plan, settings, cast("Outbox", outbox), Telemetry(BUILT_IN), clock)
    processor.restore(0, processor.opener(0)(dict(scenario.drive.topic)))
    task = processor.tasks[0]
    if tails is not None:
        task.run(Reconciler(tails))
    return processor, task


def feed(processor: Processor, task: PartitionTask, records: list[Record]) -> None:
    for fetch in fetches_of(records):
        task.merge.add(fetch)
    asyncio.run(processor.run(task))


def commits(processor: Processor, outbox: Posted) -> Checkpointer:
    async def offsets(_offsets: object) -> bool:
        return True

    return Checkpointer(
        processor,
        cast("Outbox", outbox),
        Telemetry(BUILT_IN),
        changelog_topic="log",
        commit_offsets=offsets,
        on_fatal=lambda error: pytest.fail(repr(error)),
        rarely_s=0,
    )


def changes_of(outbox: Posted) -> list[ScoreChange]:
    return [msgspec.json.decode(sent.value, type=ScoreChange) for sent in outbox.records.get(CHANGES, [])]


def never_reached(scenario: Generations) -> dict[str, Tail]:
    """A change and an alert that no event of the scenario leads to."""
    change = scenario.drive.changes[-1]
    ahead = msgspec.structs.replace(change, to=80.0, revision=change.revision + 9)
    return {CHANGES: tail_of([encode(ahead)], end=42), ALERTS: tail_of([encode(GHOST)], end=7)}


# -- changes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("idle", [True, False])
def test_changes_expire_when_all_records_of_the_beginning_are_applied(
    idle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = saved()
    outbox = Posted()
    processor, task = opened(scenario, outbox, never_reached(scenario))
    ends = dict.fromkeys(BUILT_IN.topics, 3)
    processor.highwater = lambda tp: ends[tp.topic]
    processor._reconcile(task)
    assert CHANGES not in task.reconciler.complete()
    task.engine.position.update(dict.fromkeys(BUILT_IN.inputs, 3))
    if idle:
        monkeypatch.setattr(processors, "IDLE_S", -1.0)
        asyncio.run(processor.tick())
    else:
        ends.update(dict.fromkeys(BUILT_IN.topics, 1_000))  # reconciliation does not wait for later records
        processor._reconcile(task)
    assert CHANGES in task.reconciler.complete()
    assert task.changed
    processor.flush(task)
    (change,) = changes_of(outbox)
    assert (change.from_, change.to) == (80, 30)


def test_nothing_expires_before_the_ends_of_all_sources_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after partitions were assigned an end is not known: more records may be there."""
    monkeypatch.setattr(processors, "IDLE_S", -1.0)
    scenario = saved()
    records = [scenario.record(0.11), scenario.record(0.11, account="newco")]
    scenario.drive.take(records)
    outbox = Posted()
    processor, task = opened(scenario, outbox, scenario.tails())
    processor.highwater = lambda tp: None if tp.topic == "surveys" else 0
    asyncio.run(processor.tick())
    assert task.reconciler
    processor.highwater = lambda tp: 100 if tp.topic == "product-usage" else 0
    feed(processor, task, records)
    processor.flush(task)
    assert not task.reconciler
    assert changes_of(outbox) == [], "all of it was published"


def test_a_boundary_that_the_clock_passed_before_the_crash_is_not_reverted(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = saved()
    scenario.pass_to(3)
    assert scenario.changes == [(0, 30), (30, 0)]
    outbox = Posted()
    processor, task = opened(scenario, outbox, scenario.tails(), time="live", day=3.2)
    processor.highwater = lambda tp: task.engine.position[BUILT_IN.inputs[BUILT_IN.topics.index(tp.topic)]]
    processor._reconcile(task)
    assert task.reconciler, "all is applied, but it is the day before"
    processor.flush(task)
    monkeypatch.setattr(processors, "IDLE_S", -1.0)
    asyncio.run(processor.tick())
    processor.flush(task)
    assert not task.reconciler
    assert changes_of(outbox) == []


def test_nothing_is_applied_published_or_committed_before_the_output_topics_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading takes a while. Timers fire meanwhile, and another rebalance may let records through."""
    monkeypatch.setattr(processors, "IDLE_S", -1.0)
    scenario = saved()
    records = one_change_each(scenario, 2)
    outbox = Posted(before=len(scenario.changes))
    processor, task = opened(scenario, outbox, None, time="live")
    processor.highwater = lambda _tp: 0
    checkpointer = commits(processor, outbox)
    task.changed = True
    asyncio.run(processor.tick())
    feed(processor, task, records)
    asyncio.run(checkpointer.commit(periodic=False))
    assert outbox.records == {}
    task.run(Reconciler(scenario.tails()))
    asyncio.run(processor.run(task))
    asyncio.run(checkpointer.commit(periodic=False))
    assert changes_of(outbox) == []
    assert outbox.records["log"]


# -- alerts ------------------------------------------------------------------------------------------------------------


def test_an_alert_is_reconciled_at_the_position_in_its_header_and_the_resolve_has_that_of_the_task() -> None:
    scenario = Generations(rule("when = { below = 40 }"))
    scenario.use(0.1, 8)
    scenario.commit()
    outbox = Posted()
    processor, task = opened(scenario, outbox, None)
    ghost = msgspec.structs.replace(GHOST, starts_at=0)
    before = position_of(task.engine)
    task.engine.position["surveys"] += 3
    task.run(Reconciler({ALERTS: tail_of([encode(ghost)], end=42, position=position_of(task.engine))}))
    task.engine.position["surveys"] -= 3
    processor._reconcile(task)
    assert task.reconciler, "the worker before had three surveys more"
    task.engine.position["surveys"] += 3
    task.mode = Mode.CONFLATED
    processor._reconcile(task)
    assert task.reconciler, "alerts wait while it catches up"
    task.mode = Mode.HEAD
    processor._reconcile(task)
    assert not task.reconciler
    assert task.changed
    (message,) = outbox.records[ALERTS]
    assert message.key == b"ghost"
    assert message.headers == (("vitals.position", position_of(task.engine)),)
    assert message.headers[0][1] > before
    assert task.reconciler.complete()[ALERTS] == 42
    assert task.namespaces.published_up_to[ALERTS] == 0, "not before it is committed"


def test_an_alert_that_the_replay_fires_again_is_not_published_again() -> None:
    scenario = Generations(rule("when = { below = 40 }"))
    scenario.use(0.1, 8)
    scenario.commit()
    records = [scenario.record(1.2)]
    scenario.drive.take(records)
    assert scenario.published == [("firing", "r", 1.0)]
    outbox = Posted()
    processor, task = opened(scenario, outbox, scenario.tails())
    processor.highwater = lambda _tp: 0
    feed(processor, task, records)
    assert task.engine.accounts.alerts.phase.any(), "it is firing"
    assert ALERTS not in outbox.records
    feed(processor, task, [scenario.record(1.3) for _ in range(7)])
    assert not task.reconciler, "it is reconciled before the next step, without a tick"
    assert [json.loads(sent.value)["status"] for sent in outbox.records[ALERTS]] == ["resolved"]


def test_an_alert_that_is_never_reached_expires_when_no_more_records_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "IDLE_S", -1.0)
    scenario = Generations(rule("when = { below = 40 }"))
    scenario.use(0.1, 8)
    scenario.commit()
    outbox = Posted()
    processor, task = opened(scenario, outbox, {ALERTS: tail_of([encode(GHOST)], end=42)})
    processor.highwater = lambda _tp: 1_000
    asyncio.run(processor.tick())
    assert task.reconciler, "there is more to apply"
    processor.highwater = lambda _tp: 0
    asyncio.run(processor.tick())
    assert not task.reconciler
    assert [message.key for message in outbox.records[ALERTS]] == [b"ghost"]


# -- commits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", [False, True])
def test_a_worker_with_another_policy_publishes_its_scores_without_an_event(*, changed: bool) -> None:
    """Also with event time, where no window boundary passes until an event comes."""
    scenario = saved()
    if changed:
        scenario.plan = Generations(rule("when = { below = 20 }")).plan
    outbox = Posted(before=len(scenario.changes))
    processor, _ = opened(scenario, outbox, {})
    asyncio.run(commits(processor, outbox).commit(periodic=False))
    scores = [json.loads(sent.value)["policy"] for sent in outbox.records.get(SCORES, [])]
    assert scores == ([scenario.plan.label] if changed else [])


def test_a_commit_writes_the_offset_of_each_topic_that_is_reconciled() -> None:
    scenario = saved()
    outbox = Posted(before=100)
    processor, task = opened(scenario, outbox, never_reached(scenario))
    checkpointer = commits(processor, outbox)

    def commit() -> dict[bytes, int]:
        """The offsets of alerts and changes in the last commit."""
        outbox.records["log"] = []
        task.changed = True
        asyncio.run(checkpointer.commit(periodic=False))
        return {sent.key: json.loads(sent.value) for sent in outbox.records["log"] if sent.key in (b"a", b"c")}

    asyncio.run(checkpointer.introduce([task]))
    first = {sent.key: sent.value for sent in outbox.records["log"]}
    assert (first[b"a"], first[b"c"]) == (b"0", b"0"), "the offsets from which a next generation reads"
    assert commit() == {}, "neither is reconciled"
    task.engine.publisher.expire()
    assert commit() == {b"c": 101}, "one change was published: the score is not what was published before"
    processor._reconcile(task, idle=True)
    assert commit() == {b"a": 101, b"c": 101}, "the alert was published as resolved"
    assert commit() == {b"a": 101, b"c": 101}
    opened_again = Processor(
        scenario.plan, Settings(partitions=1), cast("Outbox", outbox), Telemetry(BUILT_IN), BrokerClock()
    )
    log = {sent.key: sent.value for sent in outbox.records["log"] if sent.value is not None}
    opened_again.restore(0, opened_again.opener(0)({**scenario.drive.topic, **log}))
    assert opened_again.tasks[0].namespaces.published_up_to == {ALERTS: 101, CHANGES: 101}


def test_a_task_runs_with_the_offsets_from_which_its_topics_were_read() -> None:
    """Also where the changelog has larger ones: the topics were deleted and created again."""
    scenario = saved()
    scenario.drive.topic.update({b"a": b"500", b"c": b"900"})
    _, task = opened(scenario, Posted(), {ALERTS: Tail(7, 7), CHANGES: Tail(12, 12)})
    assert task.namespaces.published_up_to == {ALERTS: 7, CHANGES: 12}


def test_offsets_are_written_with_the_state_that_was_reconciled_and_not_before() -> None:
    """While a commit waits for its outputs, other tasks may begin and write theirs."""
    scenario = saved()
    outbox = Posted(before=100)
    tails = {ALERTS: tail_of([], end=7), CHANGES: never_reached(scenario)[CHANGES]._replace(start=3)}
    processor, task = opened(scenario, outbox, tails)
    task.engine.publisher.expire()
    checkpointer = commits(processor, outbox)
    seen: list[dict[str, int]] = []

    async def drained(_topics: object) -> None:
        seen.append(dict(task.namespaces.published_up_to))

    outbox.drained = drained  # type: ignore[method-assign]
    task.changed = True
    asyncio.run(checkpointer.commit(periodic=False))
    assert seen[0] == {ALERTS: 0, CHANGES: 3}
    assert task.namespaces.published_up_to == {ALERTS: 7, CHANGES: 101}


# -- reading -----------------------------------------------------------------------------------------------------------


class Topics:
    """A consumer of topics with three records a partition; one of the first partition of alerts can not be read."""

    def __init__(self) -> None:
        self.offsets: dict[TopicPartition, int] = {}

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 3)

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.offsets = dict.fromkeys(partitions, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.offsets[partition] = offset

    def position(self, partition: TopicPartition) -> int:
        return self.offsets[partition]

    def poll(self, **_: object) -> dict[TopicPartition, list[object]]:
        (partition,) = self.offsets
        if partition == TopicPartition(ALERTS, 0) and self.offsets[partition] == 2:
            raise CorruptRecordError
        self.offsets[partition] += 1
        value = b"%d" % self.offsets[partition]
        return {partition: [SimpleNamespace(key=b"[1]", value=value, headers=[("vitals.position", b"[1]")])]}

    def close(self) -> None:
        pass


def test_both_topics_are_read_from_the_last_commit_to_the_end_or_to_a_record_that_can_not_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(tails: dict[str, Tail]) -> dict[str, tuple[int, int, list[bytes | None]]]:
        read_records = {topic: list(tail.records) for topic, tail in tails.items()}
        assert {header_or_key for records in read_records.values() for _, header_or_key in records} <= {b"[1]"}
        return {
            topic: (tail.start, tail.end, [value for value, _ in read_records[topic]]) for topic, tail in tails.items()
        }

    monkeypatch.setattr(published, "reader_of", lambda _settings: Topics())
    monkeypatch.setattr(published, "Reconciler", read)
    committed = {0: {ALERTS: 0, CHANGES: 1}, 1: {ALERTS: 1, CHANGES: 3}, 2: {}, 3: {ALERTS: 3}}
    values = [b"1", b"2", b"3"]
    assert published.read_published(Settings(), committed) == {
        0: {ALERTS: (0, 3, values[:2]), CHANGES: (1, 3, values[1:])},
        1: {ALERTS: (1, 3, values[1:]), CHANGES: (3, 3, [])},
        2: {ALERTS: (0, 3, values), CHANGES: (3, 3, [])},
        3: {ALERTS: (3, 3, []), CHANGES: (3, 3, [])},
    }
