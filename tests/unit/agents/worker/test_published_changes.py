"""What a worker does of changes, ticks and commits before and after it has learned what readers heard."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
import pytest

from agents.settings.settings import Settings
from agents.worker import processor as processors
from agents.worker.checkpoint import Checkpointer
from agents.worker.clock import BrokerClock
from agents.worker.metrics import Telemetry
from agents.worker.processor import Processor
from agents.worker.records import TOPICS
from agents.worker.task import PartitionTask
from schemas.codecs import encode
from schemas.outputs import ScoreChange
from schemas.topics import ALERTS, CHANGES
from stream.ingest.batch import INPUT_SOURCES
from stream.publishing.baseline import Heard
from stream.recovery.alert_reconciler import Retelling
from tests.driving.alert_histories import DAY, START
from tests.driving.engine import fetches_of
from tests.driving.generations import Generations, saved, told_at_a_time

if TYPE_CHECKING:
    from agents.worker.outbox import Outbox
    from stream.publishing.effects import Message
    from tests.oracle.engine import Record


class Posted:
    """An outbox whose broker has taken everything; each topic was written to before."""

    def __init__(self, *, before: int) -> None:
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
    heard: Heard | None,
    *,
    time: Literal["live", "event"] = "event",
    day: float = 50,
) -> tuple[Processor, PartitionTask]:
    """A worker that takes the story's partition over, some day; it has heard unless `heard` is None."""
    settings = Settings(partitions=1, time=time)
    clock = Clock(START + round(day * DAY))
    processor = Processor(scenario.plan, settings, cast("Outbox", outbox), Telemetry(), clock)
    processor.open(0, dict(scenario.drive.topic))
    task = processor.tasks[0]
    if heard is not None:
        task.hear(Retelling([], 7), heard)
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
        Telemetry(),
        changelog_topic="log",
        commit_offsets=offsets,
        on_fatal=lambda error: pytest.fail(repr(error)),
        rarely_s=0,
    )


def changes_of(outbox: Posted) -> list[ScoreChange]:
    return [msgspec.json.decode(sent.value, type=ScoreChange) for sent in outbox.records.get(CHANGES, [])]


def ahead(scenario: Generations) -> Heard:
    """A change of which the story knows nothing, and never will."""
    change = scenario.drive.changes[-1]
    return Heard([encode(msgspec.structs.replace(change, to=80.0, revision=change.revision + 9))], 42)


@pytest.mark.parametrize("idle", [True, False])
def test_when_all_that_was_there_is_applied_nobody_is_waited_for(idle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = saved()
    outbox = Posted(before=0)
    processor, task = opened(scenario, outbox, ahead(scenario))
    ends = dict.fromkeys(TOPICS, 3)
    processor.highwater = lambda tp: ends[tp.topic]
    processor._agree(task)
    assert task.engine.publisher.heard
    task.engine.position.update(dict.fromkeys(INPUT_SOURCES, 3))
    if idle:
        monkeypatch.setattr(processors, "IDLE_S", -1.0)
        asyncio.run(processor.tick())
    else:
        ends.update(dict.fromkeys(TOPICS, 1_000))  # what comes later is not waited for
        processor._agree(task)
    assert not task.engine.publisher.heard
    assert task.changed
    processor.flush(task)
    (change,) = changes_of(outbox)
    assert (change.from_, change.to) == (80, 30)


def test_nobody_is_given_up_before_the_ends_of_all_sources_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after partitions have come, an unknown end is no lack of lag: more may be there."""
    monkeypatch.setattr(processors, "IDLE_S", -1.0)
    scenario = saved()
    records = [scenario.record(0.11), scenario.record(0.11, account="newco")]
    scenario.drive.take(records)
    outbox = Posted(before=0)
    processor, task = opened(scenario, outbox, scenario.since())
    processor.highwater = lambda tp: None if tp.topic == "surveys" else 0
    asyncio.run(processor.tick())
    assert task.engine.publisher.heard
    processor.highwater = lambda tp: 100 if tp.topic == "product-usage" else 0
    feed(processor, task, records)
    processor.flush(task)
    assert not task.engine.publisher.heard
    assert changes_of(outbox) == [], "all of it was told"


def test_a_boundary_that_only_the_clock_passed_is_not_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = saved()
    scenario.pass_to(3)
    assert scenario.heard == [(0, 30), (30, 0)]
    outbox = Posted(before=0)
    processor, task = opened(scenario, outbox, scenario.since(), time="live", day=3.2)
    processor.highwater = lambda tp: task.engine.position[INPUT_SOURCES[TOPICS.index(tp.topic)]]
    processor._agree(task)
    assert task.engine.publisher.heard, "all is applied, but it is the day before"
    processor.flush(task)
    monkeypatch.setattr(processors, "IDLE_S", -1.0)
    asyncio.run(processor.tick())
    processor.flush(task)
    assert not task.engine.publisher.heard
    assert changes_of(outbox) == []


def test_nothing_is_done_before_what_was_told_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it takes a while, in which timers go on and another rebalance may let records through."""
    monkeypatch.setattr(processors, "IDLE_S", -1.0)
    scenario = saved()
    records = told_at_a_time(scenario, 2)
    outbox = Posted(before=len(scenario.heard))
    processor, task = opened(scenario, outbox, None, time="live")
    processor.highwater = lambda _tp: 0
    checkpointer = commits(processor, outbox)
    task.changed = True
    asyncio.run(processor.tick())
    feed(processor, task, records)
    asyncio.run(checkpointer.commit(periodic=False))
    assert outbox.records == {}
    task.hear(Retelling([], 0), scenario.since())
    asyncio.run(processor.run(task))
    asyncio.run(checkpointer.commit(periodic=False))
    assert changes_of(outbox) == []
    assert outbox.records["log"]


def test_no_life_uses_an_id_of_another_one() -> None:
    """Even where it says the very same: a reader that drops what it had before would drop news."""
    scenario = saved()
    (first,) = scenario.drive.changes
    again = Generations("")
    again.drive.engine.publisher.hear(Heard([], 5), None)
    again.use(0.1, 3)
    (second,) = again.drive.changes
    assert second.id != first.id
    assert msgspec.structs.replace(second, id=first.id) == first


def test_what_is_no_change_keeps_no_worker_from_beginning() -> None:
    scenario = Generations("")
    scenario.use(0.1, 3)
    good = encode(scenario.drive.changes[0])
    bad = [good.replace(b"acme", b"ac\xffe"), b"[" * 100_000, good.replace(b'"to":30.0', b'"to":"much"'), b"7"]
    heard = Heard([*bad, None], 5)
    assert heard.known(scenario.drive.engine.accounts).tolist() == [0], "what it is of is known, what it says is not"
    heard.give_up(scenario.drive.engine.accounts, scenario.plan)
    assert scenario.drive.engine.accounts.last_published_score[0, 0] == 30
    assert not Heard(bad[:2], 5)


def test_a_commit_says_up_to_where_it_knows_what_readers_heard() -> None:
    scenario = saved()
    outbox = Posted(before=100)
    processor, task = opened(scenario, outbox, ahead(scenario))
    checkpointer = commits(processor, outbox)

    def commit() -> dict[bytes, int]:
        """Up to where the last commit knows alerts and changes."""
        outbox.records["log"] = []
        task.changed = True
        asyncio.run(checkpointer.commit(periodic=False))
        return {sent.key: json.loads(sent.value) for sent in outbox.records["log"] if sent.key in (b"a", b"c")}

    asyncio.run(checkpointer.introduce([task]))
    first = {sent.key: sent.value for sent in outbox.records["log"]}
    assert (first[b"a"], first[b"c"]) == (b"0", b"42"), "the first life to know of this: later ones read from here"
    assert commit() == {}, "neither is agreed on"
    processor._agree(task)
    assert commit() == {b"a": 7}
    task.engine.publisher.heard.give_up(task.engine.accounts, task.engine.plan)
    assert commit() == {b"a": 7, b"c": 101}, "one change was told: what readers heard is not so"
    assert commit() == {b"a": 7, b"c": 101}
    opened_again = Processor(scenario.plan, Settings(partitions=1), cast("Outbox", outbox), Telemetry(), BrokerClock())
    log = {sent.key: sent.value for sent in outbox.records["log"] if sent.value is not None}
    opened_again.open(0, {**scenario.drive.topic, **log})
    assert opened_again.tasks[0].namespaces.told == {ALERTS: 7, CHANGES: 101}


def test_where_a_topic_was_made_anew_what_is_known_begins_anew() -> None:
    scenario = saved()
    scenario.drive.topic.update({b"a": b"500", b"c": b"900"})
    _, task = opened(scenario, Posted(before=0), Heard([], 12))
    assert task.namespaces.told == task.published_up_to == {ALERTS: 7, CHANGES: 12}


def test_what_is_agreed_on_is_written_with_the_state_that_knows_it_and_not_before() -> None:
    """While a commit waits for its outputs, other lanes may be introduced."""
    scenario = saved()
    outbox = Posted(before=100)
    processor, task = opened(scenario, outbox, ahead(scenario))
    task.namespaces.told[CHANGES] = task.published_up_to[CHANGES] = 3
    task.engine.publisher.heard.give_up(task.engine.accounts, task.engine.plan)
    processor._agree(task)
    checkpointer = commits(processor, outbox)
    seen: list[dict[str, int]] = []

    async def drained(_topics: object) -> None:
        seen.append(dict(task.namespaces.told))

    outbox.drained = drained  # type: ignore[method-assign]
    task.changed = True
    asyncio.run(checkpointer.commit(periodic=False))
    assert seen[0] == {ALERTS: 0, CHANGES: 3}
    assert task.namespaces.told == {ALERTS: 7, CHANGES: 101}
