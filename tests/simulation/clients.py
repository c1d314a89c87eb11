"""The Kafka clients of a simulated worker, as far as the product's outbox and fencing use them.

Owns idempotent producers (sequence numbers, one request at a time within a partition) and the requests to the
coordinator of transactions. Called by `tests.simulation.worker`.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from aiokafka import TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest

from schemas.topics import changelog
from tests.simulation.broker import FencedError, SequenceError, Unsent, Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import AIOKafkaProducer

    from tests.simulation.broker import Broker
    from tests.simulation.network import Network

CHANGELOG = changelog("simulation").name
_BATCH_RECORDS = 10


class Batch:
    """A prepared batch."""

    def __init__(self) -> None:
        """Begin empty."""
        self.records: list[Unsent] = []

    def append(self, *, key: bytes | None, value: bytes | None, timestamp: int, headers: list[Any]) -> object:
        """Add a record; None when the batch is full."""
        if len(self.records) == _BATCH_RECORDS:
            return None
        self.records.append(Unsent(key, value, tuple(headers), timestamp))
        return self


class Sequences:
    """The sequence numbers of a producer."""

    def __init__(self) -> None:
        """Every partition begins at 0."""
        self._sequence_numbers: defaultdict[TopicPartition, int] = defaultdict(int)

    def sequence_number(self, tp: TopicPartition) -> int:
        """Return the number of the next record to a partition."""
        return self._sequence_numbers[tp]

    def take(self, tp: TopicPartition, count: int) -> int:
        """Number the next records; return the first number."""
        first = self._sequence_numbers[tp]
        self._sequence_numbers[tp] += count
        return first


class Producer:
    """A producer with an id and epoch."""

    _sender = SimpleNamespace(sender_task=None)

    def __init__(self, broker: Broker, network: Network, name: str, epoch: int) -> None:
        """Write as this transactional id and epoch."""
        self._broker = broker
        self._network = network
        self._name = name
        self._epoch = epoch
        self._txn_manager = Sequences()

    def create_batch(self) -> Batch:
        """Return an empty batch."""
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Send a batch; the future is its acknowledgement."""
        tp = TopicPartition(topic, partition)
        writer = Writer(self._name, self._epoch, self._txn_manager.take(tp, len(batch.records)))
        return asyncio.get_running_loop().create_task(self._send(topic, partition, batch.records, writer))

    async def _send(self, topic: str, partition: int, records: list[Unsent], writer: Writer) -> Any:
        try:
            base = await self._network.call(lambda: self._broker.append((topic, partition), records, writer))
        except FencedError as error:
            raise kafka_errors.InvalidProducerEpoch from error
        except SequenceError as error:
            raise kafka_errors.OutOfOrderSequenceNumber from error
        return SimpleNamespace(offset=base, timestamp_type=int(topic == CHANGELOG), timestamp=_now_ms())


class Clients:
    """What `agents.worker.commit.fencing` asks of the Kafka client."""

    def __init__(self, broker: Broker, network: Network, on_rejoin: Callable[[], None]) -> None:
        """Reach this broker by this network."""
        self._broker = broker
        self._network = network
        self._on_rejoin = on_rejoin
        self._names: dict[tuple[int, int], str] = {}

    async def ask_coordinator(self, transactional_id: str, request: Any) -> Any:
        """Answer a request about a transaction."""
        broker = self._broker
        code = 0
        try:
            if isinstance(request, InitProducerIdRequest):
                epoch = await self._network.call(lambda: broker.next_epoch(transactional_id))
                number = int(transactional_id.rpartition("-")[2])
                self._names[number, epoch] = transactional_id
                return SimpleNamespace(error_code=0, producer_id=number, producer_epoch=epoch)
            epoch = request._producer_epoch
            if isinstance(request, AddPartitionsToTxnRequest):
                named = [(topic, number) for topic, numbers in request._topics for number in numbers]
                await self._network.call(lambda: broker.begin(transactional_id, epoch, named))
            else:
                assert isinstance(request, EndTxnRequest)
                await self._network.call(lambda: broker.abort(transactional_id, epoch))
        except FencedError:
            code = kafka_errors.InvalidProducerEpoch.errno
        return SimpleNamespace(error_code=code, errors=[("", [(0, code)])])

    async def idempotent_producer(self, producer_id: int, epoch: int) -> AIOKafkaProducer:
        """Return a producer that writes with this id and epoch."""
        producer = Producer(self._broker, self._network, self._names[producer_id, epoch], epoch)
        return cast("AIOKafkaProducer", producer)

    async def abandon(self, producer: AIOKafkaProducer) -> None:
        """Do nothing: what was sent stays sent."""

    async def rejoin(self) -> None:
        """Ask the group for a new assignment."""
        self._on_rejoin()

    def producer(self) -> AIOKafkaProducer:
        """Not asked for: this broker can fence."""
        raise NotImplementedError

    def knows_request(self, api_key: int) -> bool:
        """Know every request."""
        del api_key
        return True


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
