"""What readers of score changes heard before a crash, and how the next life goes on from it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from agents import processor as processors
from agents.clock import BrokerClock
from agents.committer import Committer
from agents.processor import Lane, Processor
from agents.settings import Settings
from agents.telemetry import Telemetry
from schemas.codecs import encode
from schemas.outputs import ScoreChange
from schemas.topics import ALERTS, CHANGES
from stream import changelog
from stream.batch import LINES
from stream.engine import Engine, Mode
from stream.heard import Heard
from stream.retelling import Retelling
from tests.driving import plan_of
from tests.faults.events import MOOD
from tests.stories import DAY, POLICY, START, Story

if TYPE_CHECKING:
    from agents.outbox import Outbox
    from stream.effects import Message
    from stream.plan import Plan
    from tests.oracle import Record


class Lives(Story):
    """A story whose worker crashes: what readers heard stays, what it did not save is gone."""

    known = 0

    def commit(self) -> None:
        self.drive.save()
        self.known = len(self.drive.changes)

    def crash(self, plan: Plan | None = None, *, mode: Mode = Mode.HEAD) -> None:
        """Go on from the last commit, knowing what readers heard since."""
        heard = Heard([encode(change) for change in self.drive.changes[self.known :]], len(self.drive.changes))
        self.plan = plan or self.plan
        self.drive.engine, self.drive.mode = Engine(self.plan), mode
        changelog.restore(self.drive.engine, self.drive.topic)
        self.drive.engine.publisher.hear(heard, self.drive.engine.as_of)

    @property
    def waits(self) -> bool:
        return bool(self.drive.engine.publisher.heard)

    @property
    def heard(self) -> list[tuple[float, float]]:
        """(from, to) of all changes."""
        return [(change.from_, change.to) for change in self.drive.changes]


def told_at_a_time(story: Lives, count: int) -> list[Record]:
    records = [story.record(0.2) for _ in range(count)]
    for record in records:
        story.drive.take([record])
    return records


def test_the_same_story_is_not_told_again() -> None:
    story = Lives("")
    story.use(0.1, 3)
    story.commit()
    records = told_at_a_time(story, 3)
    before = story.heard
    assert before == [(0, 30), (30, 40), (40, 50), (50, 60)]
    story.crash()
    story.drive.take(records[:1])
    story.drive.take(records[1:2])
    assert story.waits
    assert story.heard == before, "it has not come as far yet"
    story.drive.take(records[2:])
    assert not story.waits
    assert story.heard == before
    story.use(0.3, 1)
    assert story.heard[-1] == (60, 70)
    assert [(factor.before, factor.after) for factor in story.drive.changes[-1].factors][:1] == [(60, 70)]


@pytest.mark.parametrize("mode", [Mode.HEAD, Mode.CONFLATED])
def test_what_rose_and_fell_within_one_step_of_the_next_life_is_taken_back(mode: Mode) -> None:
    story = Lives("", policy=MOOD.replace("{", "{{").replace("}", "}}"))
    story.take(0.1, "surveys", kind="nps", score=8)
    story.commit()
    bad = story.record(0.2, "surveys", kind="nps", score=2)
    story.drive.take([bad])
    assert story.heard == [(0, 80), (80, 20)]
    story.crash(mode=mode)
    story.drive.take([bad, story.record(0.3, "surveys", kind="nps", score=8)])
    story.drive.turn_to(Mode.HEAD)
    story.drive.flush()
    (last,) = story.drive.changes[2:]
    assert (last.from_, last.to, last.band_from, last.band_to, last.cause) == (20, 80, "bad", "good", "event")
    assert [(factor.measure, factor.delta) for factor in last.factors][:1] == [("mood", 60)]


def test_what_a_half_written_commit_had_saved_goes_on_at_once() -> None:
    story = Lives("")
    story.use(0.1, 3)
    story.commit()
    known = story.known
    story.use(0.2, 3)
    story.commit()
    story.known = known
    story.crash()
    assert not story.waits
    story.use(0.3, 1)
    assert story.heard == [(0, 30), (30, 60), (60, 70)]


def test_an_account_whose_first_change_was_not_saved() -> None:
    story = Lives("")
    records = told_at_a_time(story, 2)
    story.crash()
    story.drive.take(records)
    story.use(0.3, 1)
    assert story.heard == [(0, 10), (10, 20), (20, 30)]


def test_what_was_told_under_another_policy_goes_on_with_that_as_its_cause() -> None:
    story = Lives("")
    story.use(0.1, 3)
    story.commit()
    records = told_at_a_time(story, 2)
    other = POLICY.replace("hundred_at = 10", "hundred_at = 20").replace("measures.tickets", "measures.other")
    story.crash(plan_of(other.format(rules="", window="1d")))
    story.drive.take(records)
    last = story.drive.changes[-1]
    assert (last.from_, last.to, last.cause) == (50, 25, "policy")
    assert {factor.measure: (factor.before, factor.after) for factor in last.factors}["usage"] == (50, 25)
    assert last.band_from == "fair"


def test_a_score_or_a_band_that_is_gone_and_what_is_no_change_are_left_out() -> None:
    story = Lives("")
    story.use(0.1, 3)
    story.commit()
    (first,) = story.drive.changes
    gone = msgspec.structs.replace(first, score="gone", to=1.0)
    renamed = msgspec.structs.replace(first, band_to="purple", to=20.0)
    engine = story.drive.engine
    engine.publisher.hear(Heard([b"nothing", None, encode(gone), encode(renamed)], 4), engine.as_of)
    story.drive.flush()
    last = story.drive.changes[-1]
    assert (last.from_, last.to, last.band_from, last.band_to) == (20, 30, None, "fair")


def override(story: Lives, day: float, **fields: Any) -> Record:
    given = {"kind": "override", "score": 10, "reason": "sponsor left", "expires_at": START + 5 * DAY, **fields}
    return story.record(day, "controls", **given)


@pytest.mark.parametrize("later", [None, "clear_override", "override"])
def test_an_override_that_was_told_is_told_again_only_where_it_is_another(later: str | None) -> None:
    story = Lives("")
    story.use(0.1, 3)
    story.commit()
    records = [override(story, 0.2)]
    story.drive.take(records)
    assert [change.cause for change in story.drive.changes] == ["event", "override"]
    if later is not None:
        records.append(override(story, 0.3, kind=later, score=20))
    story.crash()
    story.drive.take(records)
    told = [change.override and change.override.score for change in story.drive.changes[2:]]
    assert told == {None: [], "clear_override": [None], "override": [20]}[later]
    story.use(0.4, 1)
    assert story.drive.changes[-1].cause == "event"


def test_the_end_of_an_override_is_told_once() -> None:
    story = Lives("")
    story.use(0.1, 3)
    story.drive.take([override(story, 0.2)])
    story.commit()
    end = [override(story, 0.3, kind="clear_override")]
    story.drive.take(end)
    story.crash()
    story.drive.take(end)
    assert [change.override is None for change in story.drive.changes] == [True, False, True]


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


def opened(story: Lives, outbox: Posted, heard: Heard) -> tuple[Processor, Lane]:
    settings = Settings(partitions=1, time="event")
    processor = Processor(story.plan, settings, cast("Outbox", outbox), Telemetry(), BrokerClock())
    processor.open(0, dict(story.drive.topic))
    lane = processor.lanes[0]
    lane.hear(Retelling([], 7), heard)
    return processor, lane


def ahead(story: Lives) -> Heard:
    """A change of which the story knows nothing, and never will."""
    change = story.drive.changes[-1]
    return Heard([encode(msgspec.structs.replace(change, to=80.0, revision=change.revision + 9))], 42)


def test_when_all_that_was_there_is_applied_nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for ends_known in (True, False):
        story = Lives("")
        story.use(0.1, 3)
        story.commit()
        outbox = Posted(before=0)
        processor, lane = opened(story, outbox, ahead(story))
        ends = dict.fromkeys(LINES, 3)
        if ends_known:
            processor.highwater = lambda tp, ends=ends: ends.get(tp.topic, 0)  # type: ignore[misc]
        processor._agree(lane)
        assert lane.engine.publisher.heard
        if ends_known:
            ends.update(dict.fromkeys(LINES, 1_000))  # what comes later is not waited for
            lane.engine.position.update(dict.fromkeys(LINES, 3))
            processor._agree(lane)
        else:
            monkeypatch.setattr(processors, "IDLE_S", -1.0)
            asyncio.run(processor.tick())
        assert not lane.engine.publisher.heard
        assert lane.changed
        processor.flush(lane)
        (change,) = [msgspec.json.decode(sent.value, type=ScoreChange) for sent in outbox.records[CHANGES]]
        assert (change.from_, change.to) == (80, 30)


def test_a_commit_says_up_to_where_it_knows_what_readers_heard() -> None:
    story = Lives("")
    story.use(0.1, 3)
    story.commit()
    outbox = Posted(before=100)
    processor, lane = opened(story, outbox, ahead(story))

    async def offsets(_offsets: object) -> bool:
        return True

    committer = Committer(
        processor,
        cast("Outbox", outbox),
        Telemetry(),
        changelog_topic="log",
        commit_offsets=offsets,
        on_fatal=lambda error: pytest.fail(str(error)),
        rarely_s=0,
    )

    def commit() -> dict[bytes, int]:
        """Up to where the last commit knows alerts and changes."""
        outbox.records["log"] = []
        lane.changed = True
        asyncio.run(committer.commit(periodic=False))
        return {sent.key: json.loads(sent.value) for sent in outbox.records["log"] if sent.key in (b"a", b"c")}

    asyncio.run(committer.introduce())
    first = {sent.key: sent.value for sent in outbox.records["log"]}
    assert (first[b"a"], first[b"c"]) == (b"0", b"42"), "the first life to know of this: later ones read from here"
    assert commit() == {}, "neither is agreed on"
    lane.told = None
    assert commit() == {b"a": 0}
    lane.engine.publisher.heard.give_up(lane.engine.accounts, lane.engine.plan)
    assert commit() == {b"a": 0, b"c": 101}, "one change was told: what readers heard is not so"
    assert commit() == {b"a": 0, b"c": 101}
    opened_again = Processor(story.plan, Settings(partitions=1), cast("Outbox", outbox), Telemetry(), BrokerClock())
    log = {sent.key: sent.value for sent in outbox.records["log"] if sent.value is not None}
    opened_again.open(0, {**story.drive.topic, **log})
    assert opened_again.lanes[0].books.told == {ALERTS: 0, CHANGES: 101}
