"""Fetches within a session bring what fetches of everything would, whatever is lost on the way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v4, FetchRequest_v11, FetchResponse_v11
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from agents.worker.client.fetch_session import FetchSession, SessionRequest, in_sessions

TPS = [TopicPartition(topic, partition) for topic in ("a", "b") for partition in (0, 1)]
UNKNOWN_SESSION = 70
INVALID_EPOCH = 71
OUT_OF_RANGE = 1


@dataclass
class State:
    """What aiokafka keeps of a partition."""

    position: int = 0
    highwater: int | None = None
    timestamp: int | None = None


class Assignment:
    """What aiokafka keeps of an assignment."""

    def __init__(self) -> None:
        self.active = True
        self.states = {tp: State() for tp in TPS}

    def state_value(self, tp: TopicPartition) -> State:
        return self.states[tp]


@dataclass
class Broker:
    """A broker that keeps one session as Kafka does: what an answer names is what changed since the answer before."""

    ends: dict[TopicPartition, int] = field(default_factory=lambda: dict.fromkeys(TPS, 0))
    room: bool = True
    session: int = 0
    epoch: int = 0
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    shown: dict[TopicPartition, int] = field(default_factory=dict)
    named: list[int] = field(default_factory=list)
    """How many partitions each request named."""

    def answer(self, request: Any) -> FetchResponse_v11:
        asked = {
            TopicPartition(topic, partition): offset
            for topic, partitions in request.topics
            for partition, _, offset, *_ in partitions
        }
        self.named.append(len(asked))
        if request.session_epoch == 0:
            self.session, self.epoch, self.offsets, self.shown = (self.session + 1 if self.room else 0), 0, {}, {}
        elif request.session_id != self.session:
            return FetchResponse_v11(0, UNKNOWN_SESSION, 0, [])
        elif request.session_epoch != self.epoch:
            return FetchResponse_v11(0, INVALID_EPOCH, request.session_id, [])
        self.epoch += 1
        for topic, partitions in request.forgotten_topics_data:
            for partition in partitions:
                del self.offsets[topic, partition], self.shown[topic, partition]
        self.offsets |= asked
        topics = [(tp.topic, [self._partition(tp)]) for tp in map(TopicPartition._make, self.offsets) if self._says(tp)]
        self.shown = {tp: self.shown.get(tp, -1) for tp in self.offsets}
        self.shown.update({tp: self._highwater(tp) for tp in self.offsets if self._says(tp)})
        return FetchResponse_v11(0, 0, self.session, topics)

    def _highwater(self, tp: TopicPartition) -> int:
        return self.ends[tp] if self.offsets[tp] <= self.ends[tp] else -1

    def _says(self, tp: TopicPartition) -> bool:
        return self.offsets[tp] != self.ends[tp] or self.shown.get(tp, -1) != self.ends[tp]

    def _partition(self, tp: TopicPartition) -> tuple[Any, ...]:
        offset, end = self.offsets[tp], self.ends[tp]
        if offset > end:
            return (tp.partition, OUT_OF_RANGE, -1, -1, 0, [], -1, b"")
        return (tp.partition, 0, end, end, 0, [], -1, bytes(end - offset))


class Client:
    """aiokafka's fetcher, as far as a session can tell."""

    def __init__(self, broker: Broker, version: Any = FetchRequest_v11) -> None:
        self.broker, self.version = broker, version
        self.assignment = Assignment()
        self.before_answer: Any = lambda: None
        self.loses = False
        self._fetch = in_sessions(self._proc)

    def fetch(self, wanted: list[TopicPartition] = TPS) -> None:
        """Ask for partitions, and read all that comes."""
        topics = [(tp.topic, [(tp.partition, self.assignment.states[tp].position, 100)]) for tp in wanted]
        asyncio.run(self._fetch(self.assignment, 0, FetchRequest(1, 1, 1, 1, topics)))  # type: ignore[arg-type]

    async def _proc(self, assignment: Any, node_id: int, request: Any) -> bool:
        assert node_id == 0
        struct = request.build(self.version)
        encoded = self.broker.answer(struct).encode()
        self.before_answer()
        if self.loses:
            return False
        answer = struct.RESPONSE_TYPE.decode(BytesIO(encoded))
        if not assignment.active:
            return False
        asked = {TopicPartition(t, entry[0]): entry[1] for t, entries in request.topics for entry in entries}
        for topic, partitions in answer.topics:
            for partition, error, highwater, *_, records in partitions:
                state = assignment.states[topic, partition]
                if state.position == asked[topic, partition] and not error:
                    state.highwater = highwater
                    state.position += len(records)
        return True


def test_what_has_not_changed_is_neither_asked_for_nor_answered() -> None:
    client = Client(broker := Broker())
    client.fetch()
    client.fetch()
    broker.ends[TPS[2]] = 7
    client.fetch()
    client.fetch()
    client.fetch()
    assert broker.named == [4, 0, 0, 1, 0]
    assert client.assignment.states[TPS[2]].position == client.assignment.states[TPS[2]].highwater == 7


def test_every_partition_counts_as_asked_for_just_now() -> None:
    client = Client(Broker())
    client.fetch()
    client.assignment.states[TPS[0]].timestamp = 1
    client.fetch()
    assert all((state.timestamp or 0) > 1 for state in client.assignment.states.values())


def test_a_partition_that_is_not_wanted_is_forgotten_and_asked_for_later() -> None:
    client = Client(broker := Broker())
    client.fetch()
    client.fetch(TPS[1:])
    broker.ends[TPS[0]] = 3
    client.fetch(TPS[1:])
    assert client.assignment.states[TPS[0]].position == 0
    client.fetch()
    assert client.assignment.states[TPS[0]].position == 3
    assert broker.named == [4, 0, 0, 1]


def test_a_session_that_the_broker_has_forgotten_begins_anew() -> None:
    client = Client(broker := Broker())
    client.fetch()
    broker.session += 1
    client.fetch()
    client.fetch()
    client.fetch()
    assert broker.named == [4, 0, 4, 0]


def test_a_broker_without_room_is_asked_for_everything() -> None:
    client = Client(broker := Broker(room=False))
    for _ in range(3):
        client.fetch()
    assert broker.named == [4, 4, 4]


def test_a_lost_answer_begins_anew() -> None:
    client = Client(broker := Broker())
    client.fetch()
    broker.ends[TPS[1]] = 5
    client.loses = True
    client.fetch()
    client.loses = False
    client.fetch()
    assert broker.named == [4, 0, 4]
    assert client.assignment.states[TPS[1]].highwater == 5


def test_a_high_watermark_that_came_while_the_position_changed_is_asked_for_again() -> None:
    client = Client(broker := Broker())
    broker.ends[TPS[1]] = 5

    def seek() -> None:
        client.assignment.states[TPS[1]].position = 5

    client.before_answer = seek
    client.fetch()
    assert client.assignment.states[TPS[1]].highwater is None
    client.fetch()
    assert client.assignment.states[TPS[1]].highwater == 5


def test_an_assignment_knows_nothing_of_the_session_before() -> None:
    client = Client(broker := Broker())
    client.fetch()
    client.assignment = Assignment()
    client.fetch()
    assert broker.named == [4, 4]
    assert client.assignment.states[TPS[3]].highwater == 0


@pytest.mark.parametrize("version", [FetchRequest_v4])
def test_a_broker_of_before_sessions_gets_the_request_of_aiokafka(version: Any) -> None:
    request = FetchRequest(1, 1, 1, 1, [("a", [(0, 5, 100)])])
    ours = SessionRequest(request, FetchSession(Assignment()))
    assert ours.build(version).encode() == request.build(version).encode()
    assert ours.topics == request.topics


STEPS = st.one_of(
    st.tuples(st.just("append"), st.sampled_from(TPS), st.integers(1, 3)),
    st.tuples(st.just("seek"), st.sampled_from(TPS), st.integers(0, 4)),
    st.tuples(st.just("seek while it is asked"), st.sampled_from(TPS), st.integers(0, 4)),
    st.tuples(st.just("lose"), st.just(TPS[0]), st.just(0)),
    st.tuples(st.just("forget"), st.just(TPS[0]), st.just(0)),
    st.tuples(st.just("assign"), st.just(TPS[0]), st.just(0)),
    st.tuples(st.just("pause"), st.sampled_from(TPS), st.just(0)),
    st.tuples(st.just("fetch"), st.just(TPS[0]), st.just(0)),
)


def act(client: Client, what: str, tp: TopicPartition, number: int) -> None:
    """Do one thing to the broker or the client; all but a change of the broker's or of a position is a fetch."""
    broker, state = client.broker, client.assignment.states[tp]
    position = min(number, broker.ends[tp])
    client.before_answer, client.loses = (lambda: None), what == "lose"
    if what == "append":
        broker.ends[tp] += number
    elif what == "seek":
        state.position = position
    elif what == "forget":
        broker.session += 1
    elif what == "assign":
        client.assignment.active = False
        client.assignment = Assignment()
    else:
        if what == "seek while it is asked":
            client.before_answer = lambda: setattr(state, "position", position)
        client.fetch([each for each in TPS if each != tp or what != "pause"])


@given(st.lists(STEPS, max_size=30), st.booleans())
def test_after_any_two_fetches_that_are_answered_all_is_known(steps: list[Any], room: bool) -> None:
    client = Client(broker := Broker(room=room))
    for what, tp, number in steps:
        act(client, what, tp, number)
    for _ in range(3):  # the first may find that the broker has forgotten the session, or what was lost
        act(client, "fetch", TPS[0], 0)
    for tp, state in client.assignment.states.items():
        assert (state.position, state.highwater) == (broker.ends[tp], broker.ends[tp])
