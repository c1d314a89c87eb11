"""What a worker does of changes, ticks and commits before and after it has learned what readers heard."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
import pytest

from agents.settings.settings import Settings
from agents.worker import processor as processors
from agents.worker.checkpoint import Committer
from agents.worker.clock import BrokerClock
from agents.worker.metrics import Telemetry
from agents.worker.processor import Processor
from agents.worker.records import TOPICS
from agents.worker.task import Lane
from schemas.codecs import encode
from schemas.outputs import ScoreChange
from schemas.topics import ALERTS, CHANGES
from stream.ingest.batch import LINES
from stream.publishing.baseline import Heard
from stream.recovery.alert_reconciler import Retelling
from tests.driving.alert_histories import DAY, START
from tests.driving.engine import fetches_of
from tests.driving.generations import Lives, saved, told_at_a_time

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
    story: Lives, outbox: Posted, heard: Heard | None, *, time: Literal["live", "event"] = "event", day: float = 50
) -> tuple[Processor, Lane]:
    """A worker that takes the story's partition over, some day; it has heard unless `heard` is None."""
    settings = Settings(partitions=1, time=time)
    clock = Clock(START + round(day * DAY))
    processor = Processor(story.plan, settings, cast("Outbox", outbox), Telemetry(), clock)
    processor.open(0, dict(story.drive.topic))
    lane = processor.lanes[0]
    if heard is not None:
        lane.hear(Retelling([], 7), heard)
    return processor, lane


def feed(processor: Processor, lane: Lane, records: list[Record]) -> None:
    for fetch in fetches_of(records):
        lane.merge.add(fetch)
    asyncio.run(processor.run(lane))


def commits(processor: Processor, outbox: Posted) -> Committer:
    async def offsets(_offsets: object) -> bool:
        return True

    return Committer(
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


def ahead(story: Lives) -> Heard:
    """A change of which the story knows nothing, and never will."""
    change = story.drive.changes[-1]
    return Heard([encode(msgspec.structs.replace(change, to=80.0, revision=change.revision + 9))], 42)


@pytest.mark.parametrize("idle", [True, False])
def test_when_all_that_was_there_is_applied_nobody_is_waited_for(idle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    story = saved()
    outbox = Posted(before=0)
    processor, lane = opened(story, outbox, ahead(story))
    ends = dict.fromkeys(TOPICS, 3)
    processor.highwater = lambda tp: ends[tp.topic]
    processor._agree(lane)
    assert lane.engine.publisher.heard
    lane.engine.position.update(dict.fromkeys(LINES, 3))
    if idle:
        monkeypatch.setattr(processors, "IDLE_S", -1.0)
        asyncio.run(processor.tick())
    else:
        ends.update(dict.fromkeys(TOPICS, 1_000))  # what comes later is not waited for
        processor._agree(lane)
    assert not lane.engine.publisher.heard
    assert lane.changed
    processor.flush(lane)
    (change,) = changes_of(outbox)
    assert (change.from_, change.to) == (80, 30)


def test_nobody_is_given_up_before_the_ends_of_all_sources_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after partitions have come, an unknown end is no lack of lag: more may be there."""
    monkeypatch.setattr(processors, "IDLE_S", -1.0)
    story = saved()
    records = [story.record(0.11), story.record(0.11, account="newco")]
    story.drive.take(records)
    outbox = Posted(before=0)
    processor, lane = opened(story, outbox, story.since())
    processor.highwater = lambda tp: None if tp.topic == "surveys" else 0
    asyncio.run(processor.tick())
    assert lane.engine.publisher.heard
    processor.highwater = lambda tp: 100 if tp.topic == "product-usage" else 0
    feed(processor, lane, records)
    processor.flush(lane)
    assert not lane.engine.publisher.heard
    assert changes_of(outbox) == [], "all of it was told"


def test_a_border_that_only_the_clock_passed_is_not_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    story = saved()
    story.pass_to(3)
    assert story.heard == [(0, 30), (30, 0)]
    outbox = Posted(before=0)
    processor, lane = opened(story, outbox, story.since(), time="live", day=3.2)
    processor.highwater = lambda tp: lane.engine.position[LINES[TOPICS.index(tp.topic)]]
    processor._agree(lane)
    assert lane.engine.publisher.heard, "all is applied, but it is the day before"
    processor.flush(lane)
    monkeypatch.setattr(processors, "IDLE_S", -1.0)
    asyncio.run(processor.tick())
    processor.flush(lane)
    assert not lane.engine.publisher.heard
    assert changes_of(outbox) == []


def test_nothing_is_done_before_what_was_told_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it takes a while, in which timers go on and another rebalance may let records through."""
    monkeypatch.setattr(processors, "IDLE_S", -1.0)
    story = saved()
    records = told_at_a_time(story, 2)
    outbox = Posted(before=len(story.heard))
    processor, lane = opened(story, outbox, None, time="live")
    processor.highwater = lambda _tp: 0
    committer = commits(processor, outbox)
    lane.changed = True
    asyncio.run(processor.tick())
    feed(processor, lane, records)
    asyncio.run(committer.commit(periodic=False))
    assert outbox.records == {}
    lane.hear(Retelling([], 0), story.since())
    asyncio.run(processor.run(lane))
    asyncio.run(committer.commit(periodic=False))
    assert changes_of(outbox) == []
    assert outbox.records["log"]


def test_no_life_uses_an_id_of_another_one() -> None:
    """Even where it says the very same: a reader that drops what it had before would drop news."""
    story = saved()
    (first,) = story.drive.changes
    again = Lives("")
    again.drive.engine.publisher.hear(Heard([], 5), None)
    again.use(0.1, 3)
    (second,) = again.drive.changes
    assert second.id != first.id
    assert msgspec.structs.replace(second, id=first.id) == first


def test_what_is_no_change_keeps_no_worker_from_beginning() -> None:
    story = Lives("")
    story.use(0.1, 3)
    good = encode(story.drive.changes[0])
    bad = [good.replace(b"acme", b"ac\xffe"), b"[" * 100_000, good.replace(b'"to":30.0', b'"to":"much"'), b"7"]
    heard = Heard([*bad, None], 5)
    assert heard.known(story.drive.engine.accounts).tolist() == [0], "what it is of is known, what it says is not"
    heard.give_up(story.drive.engine.accounts, story.plan)
    assert story.drive.engine.accounts.base_score[0, 0] == 30
    assert not Heard(bad[:2], 5)


def test_a_commit_says_up_to_where_it_knows_what_readers_heard() -> None:
    story = saved()
    outbox = Posted(before=100)
    processor, lane = opened(story, outbox, ahead(story))
    committer = commits(processor, outbox)

    def commit() -> dict[bytes, int]:
        """Up to where the last commit knows alerts and changes."""
        outbox.records["log"] = []
        lane.changed = True
        asyncio.run(committer.commit(periodic=False))
        return {sent.key: json.loads(sent.value) for sent in outbox.records["log"] if sent.key in (b"a", b"c")}

    asyncio.run(committer.introduce([lane]))
    first = {sent.key: sent.value for sent in outbox.records["log"]}
    assert (first[b"a"], first[b"c"]) == (b"0", b"42"), "the first life to know of this: later ones read from here"
    assert commit() == {}, "neither is agreed on"
    processor._agree(lane)
    assert commit() == {b"a": 7}
    lane.engine.publisher.heard.give_up(lane.engine.accounts, lane.engine.plan)
    assert commit() == {b"a": 7, b"c": 101}, "one change was told: what readers heard is not so"
    assert commit() == {b"a": 7, b"c": 101}
    opened_again = Processor(story.plan, Settings(partitions=1), cast("Outbox", outbox), Telemetry(), BrokerClock())
    log = {sent.key: sent.value for sent in outbox.records["log"] if sent.value is not None}
    opened_again.open(0, {**story.drive.topic, **log})
    assert opened_again.lanes[0].books.told == {ALERTS: 7, CHANGES: 101}


def test_where_a_topic_was_made_anew_what_is_known_begins_anew() -> None:
    story = saved()
    story.drive.topic.update({b"a": b"500", b"c": b"900"})
    _, lane = opened(story, Posted(before=0), Heard([], 12))
    assert lane.books.told == lane.knows == {ALERTS: 7, CHANGES: 12}


def test_what_is_agreed_on_is_written_with_the_state_that_knows_it_and_not_before() -> None:
    """While a commit waits for its outputs, other lanes may be introduced."""
    story = saved()
    outbox = Posted(before=100)
    processor, lane = opened(story, outbox, ahead(story))
    lane.books.told[CHANGES] = lane.knows[CHANGES] = 3
    lane.engine.publisher.heard.give_up(lane.engine.accounts, lane.engine.plan)
    processor._agree(lane)
    committer = commits(processor, outbox)
    seen: list[dict[str, int]] = []

    async def drained(_topics: object) -> None:
        seen.append(dict(lane.books.told))

    outbox.drained = drained  # type: ignore[method-assign]
    lane.changed = True
    asyncio.run(committer.commit(periodic=False))
    assert seen[0] == {ALERTS: 0, CHANGES: 3}
    assert lane.books.told == {ALERTS: 7, CHANGES: 101}
