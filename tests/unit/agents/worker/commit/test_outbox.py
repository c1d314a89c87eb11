"""The queues of the outbox: whose they are, and at which offset of a topic the first records of a queue end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.errors import KafkaError

from agents.worker.commit import outbox as outboxes
from agents.worker.commit.fencing import LOST
from agents.worker.commit.outbox import Outbox
from agents.worker.monitoring.metrics import Telemetry
from schemas.sources import BUILT_IN
from stream.publishing.effects import Message
from tests.driving.worker import Batch, OneProducer, Producer

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_MS = 1_751_328_000_000


class Broker(Producer):
    """A producer of batches of at most five records, whose partition has been written to before."""

    def __init__(self, end: int) -> None:
        super().__init__(batch_records=5)
        self.end = end

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        future = await super().send_batch(batch, topic, partition=partition)
        future.result().offset = self.end
        self.end += len(batch.records)
        return future


def outbox_of(producer: Any, may_write: Callable[[], bool] = lambda: True, **named: Any) -> Outbox:
    default: dict[str, Any] = {"now_ms": lambda: NOW_MS, "on_append_ms": print, "on_fatal": print}
    return Outbox(OneProducer(producer), Telemetry(BUILT_IN), may_write=may_write, **{**default, **named})


def test_a_record_that_the_broker_has_twice_moves_no_end_before_it() -> None:
    """An answer was lost and the client sent again: later offsets are larger by one than the number of records put."""

    async def scenario() -> None:
        broker: Any = Broker(100)
        outbox = outbox_of(broker)
        for _ in range(3):
            outbox.put("t", 0, [Message(b"k", b"v")])
            await outbox.drained(lambda _topic: True)
            broker.end += 1
        assert [outbox.end("t", 0, count) for count in (1, 2, 3, 3)] == [101, 103, 105, 105]

    asyncio.run(scenario())


@pytest.mark.parametrize("count", [1, 5, 6, 43])
def test_the_end_of_records_is_known_once_they_are_acknowledged(count: int) -> None:
    async def scenario() -> None:
        broker: Any = Broker(100)
        outbox = outbox_of(broker)
        assert (outbox.count("t", 0), outbox.end("t", 0, 0)) == (0, None)
        outbox.put("t", 0, [Message(b"k", b"v")] * count)
        assert outbox.count("t", 0) == count
        await outbox.drained(lambda _topic: True)
        assert outbox.end("t", 0, count) == 100 + count == broker.end
        assert outbox.end("t", 0, 0) == 100
        outbox.put("t", 0, [Message(b"k", b"v")] * 7)
        await outbox.drained(lambda _topic: True)
        assert outbox.end("t", 0, count) == 100 + count, "later records are not counted"

    asyncio.run(scenario())


def test_a_task_that_forwards_has_a_queue_of_its_own_in_each_partition() -> None:
    """Counts and ends are of the records that a task writes to its own partition."""

    async def scenario() -> None:
        writable = [False]
        broker: Any = Broker(100)
        outbox = outbox_of(broker, lambda: writable[0])
        outbox.put("t", 1, [Message(b"k", b"v")] * 2, owner=0)
        outbox.put("t", 1, [Message(b"k", b"v")] * 3)
        assert (outbox.count("t", 1), outbox.count("t", 0), len(outbox)) == (3, 0, 5)
        outbox.drop(1)
        assert (outbox.count("t", 1), len(outbox)) == (0, 2)
        writable[0] = True
        await outbox.drained(lambda _topic: True)
        assert (broker.end, len(outbox)) == (102, 0)
        assert outbox.end("t", 1, 0) is None

    asyncio.run(scenario())


def test_dropping_a_queue_releases_those_who_wait_for_it_alone() -> None:
    async def scenario() -> None:
        broker: Any = Broker(0)
        outbox = outbox_of(broker, lambda: False)
        outbox.put("first", 0, [Message(b"k", b"v")])
        outbox.put("second", 1, [Message(b"k", b"v")])
        first = asyncio.ensure_future(outbox.drained(lambda topic: topic == "first"))
        second = asyncio.ensure_future(outbox.drained(lambda topic: topic == "second"))
        await asyncio.sleep(0)
        outbox.drop(0)
        await first
        assert not second.done()
        outbox.drop(1)
        await second

    asyncio.run(scenario())


def test_a_full_outbox_has_room_again_once_the_task_that_filled_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "UNACKNOWLEDGED_LIMIT", 1)

    async def scenario() -> None:
        broker: Any = Broker(0)
        outbox = outbox_of(broker, lambda: False)
        outbox.put("t", 0, [Message(b"k", b"v")] * 2)
        waiting = asyncio.ensure_future(outbox.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.drop(0)
        await waiting

    asyncio.run(scenario())


class Fenced(Broker):
    """A producer with an id: it numbers its records, and the broker takes only the number that comes next."""

    def __init__(self) -> None:
        super().__init__(0)
        self.numbers: dict[Any, int] = {}
        self._txn_manager = SimpleNamespace(sequence_number=self.numbers.__getitem__, _sequence_numbers=self.numbers)
        self._sender = SimpleNamespace(sender_task=None)
        self.written: list[bytes] = []
        self.failures: list[tuple[bool, BaseException | None]] = []
        """Of the next batches: whether the broker writes them, and how they fail."""

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        tp = TopicPartition(topic, partition)
        number = self.numbers[tp]
        self.numbers[tp] += len(batch.records)
        values = [record.value for record in batch.records]
        known = self.written[number : number + len(values)] == values
        assert known or number == len(self.written), "OUT_OF_ORDER_SEQUENCE_NUMBER"
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        written, error = self.failures.pop(0) if self.failures else (True, None)
        if written and not known:
            self.written += values
        if error is None:
            future.set_result(SimpleNamespace(offset=number, timestamp_type=0, timestamp=0))
        else:
            future.set_exception(error)
        return future


def fenced(**named: Any) -> tuple[Fenced, Outbox]:
    broker = Fenced()
    broker.numbers[TopicPartition("t", 0)] = 0
    return broker, outbox_of(broker, **named)


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "FIRST_PAUSE_S", 0.001)


@pytest.mark.usefixtures("without_pauses")
@pytest.mark.parametrize("written", [True, False])
def test_a_batch_that_fails_is_written_once_and_in_its_place(*, written: bool) -> None:
    """Whether the broker has written it, and its answer was lost, or not: the same numbers go out again."""

    async def scenario() -> None:
        broker, outbox = fenced()
        values = [str(number).encode() for number in range(23)]
        broker.failures = [
            (True, None),
            (written, kafka_errors.LeaderNotAvailableError()),
            (written, kafka_errors.TopicAuthorizationFailedError()),
        ]
        outbox.put("t", 0, [Message(b"k", value) for value in values])
        await outbox.drained(lambda _topic: True)
        assert broker.written == values
        assert (len(outbox), outbox.failing, outbox.end("t", 0, 23)) == (0, False, 23)

    asyncio.run(asyncio.wait_for(scenario(), 30))


@pytest.mark.usefixtures("without_pauses")
def test_records_that_are_too_large_together_go_one_by_one() -> None:
    async def scenario() -> None:
        broker, outbox = fenced()
        broker.failures = [(False, kafka_errors.MessageSizeTooLargeError())]
        outbox.put("t", 0, [Message(b"k", bytes([number])) for number in range(7)])
        await outbox.drained(lambda _topic: True)
        assert broker.written == [bytes([number]) for number in range(7)]

    asyncio.run(asyncio.wait_for(scenario(), 30))


@pytest.mark.parametrize("error", LOST)
def test_a_producer_that_is_refused_has_its_task_closed(error: type[KafkaError]) -> None:
    async def scenario() -> None:
        broker, outbox = fenced()
        lost: list[tuple[int, BaseException]] = []

        def lose(task: int, error: BaseException) -> None:
            lost.append((task, error))
            outbox.drop(task)

        outbox.on_lost = lose
        broker.failures = [(False, error())]
        outbox.put("t", 0, [Message(b"k", b"v")] * 7)
        await outbox.drained(lambda _topic: True)
        assert [(task, type(raised)) for task, raised in lost] == [(0, error)]
        assert (len(outbox), broker.written, outbox.failing) == (0, [], False)

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_producer_that_has_given_up_has_its_task_closed() -> None:
    async def scenario() -> None:
        broker, outbox = fenced()
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ended.set_result(None)
        broker._sender = SimpleNamespace(sender_task=ended)
        lost: list[int] = []

        def lose(task: int, _error: BaseException) -> None:
            lost.append(task)
            outbox.drop(task)

        outbox.on_lost = lose
        broker.failures = [(False, KafkaError("Unexpected error during batch delivery"))]
        outbox.put("t", 0, [Message(b"k", b"v")])
        await outbox.drained(lambda _topic: True)
        assert lost == [0]

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_broker_that_does_not_answer_for_long_counts_as_one_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer with an id tries for ever, so no error comes of it."""
    monkeypatch.setattr(outboxes, "SILENT_S", 0.01)

    async def scenario() -> None:
        answers: list[asyncio.Future[Any]] = []

        class Silent(Broker):
            async def send_batch(self, *_: object, **__: object) -> asyncio.Future[Any]:
                answers.append(asyncio.get_running_loop().create_future())
                return answers[-1]

        outbox = outbox_of(Silent(0))
        outbox.put("t", 0, [Message(b"k", b"v")])
        for _ in range(1000):
            if outbox.failing:
                break
            await asyncio.sleep(0.01)
        assert outbox.failing
        answers[0].set_result(SimpleNamespace(offset=0, timestamp_type=0, timestamp=0))
        await outbox.drained(lambda _topic: True)
        assert (outbox.failing, len(answers)) == (False, 1)

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_task_without_a_producer_sends_once_it_has_one() -> None:
    async def scenario() -> None:
        broker, outbox = fenced()
        producer = outbox._producers
        outbox._producers = SimpleNamespace(of=lambda _task: None, close=print)
        outbox.put("t", 0, [Message(b"k", b"v")])
        await asyncio.sleep(0.01)
        assert broker.written == []
        outbox._producers = producer
        await outbox.drained(lambda _topic: True)
        assert broker.written == [b"v"]

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_records_have_the_brokers_time_and_none_a_later_one() -> None:
    """A broker refuses what is more than an hour ahead by its clock, whatever the clock of this machine says."""

    async def scenario() -> None:
        producer = Producer()
        outbox = outbox_of(producer)
        times = (None, 5, NOW_MS - 1, NOW_MS + 7_200_000)
        outbox.put("t", 0, [Message(b"k", b"v", (), at_ms) for at_ms in times])
        await outbox.drained(lambda _topic: True)
        assert [record.timestamp for batch in producer.batches for record in batch] == [NOW_MS, 5, NOW_MS - 1, NOW_MS]

    asyncio.run(scenario())
