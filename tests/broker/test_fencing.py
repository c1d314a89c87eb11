"""The producers of partition tasks on a real broker: who is shut out, what is refused, what is written once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from aiokafka.errors import ProducerFenced
from kafka.admin import ConfigResource, ConfigResourceType

from agents.demo.broker import EmbeddedBroker
from agents.kafka.topics import create_topics
from agents.settings.settings import Settings
from agents.worker.client.app import faust_app
from agents.worker.client.broker import Broker
from agents.worker.commit.fencing import TaskProducers
from agents.worker.commit.outbox import Outbox
from agents.worker.monitoring.metrics import Telemetry
from schemas.sources import BUILT_IN
from schemas.topics import ALERTS, SCORES
from stream.publishing.effects import Message
from tests.broker.kafka_server import KafkaServer
from tests.faults import topic_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.broker

GROUP = "fenced"
TOPICS = (SCORES, ALERTS)
TASK = 2
FORGETS_AFTER_S = 4
NOW_MS = 1_751_328_000_000


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaServer]:
    """A broker that forgets transactional ids after seconds."""
    settings = {
        "transactional.id.expiration.ms": str(FORGETS_AFTER_S * 1000),
        "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
        "transaction.state.log.num.partitions": "1",
    }
    with KafkaServer(settings=settings) as server:
        create_topics(server.bootstrap, topic_log.PARTITIONS, GROUP)
        yield server


class Client:
    """The producers and the outbox of one worker."""

    def __init__(self, broker: Broker, group: str, renew_s: float) -> None:
        self.errors: list[BaseException] = []
        self.lost: list[tuple[int, BaseException]] = []
        self.producers = TaskProducers(
            broker, group, TOPICS, may_write=lambda: True, on_fatal=self.errors.append, renew_s=renew_s
        )
        self.outbox = Outbox(
            self.producers,
            Telemetry(BUILT_IN),
            now_ms=lambda: NOW_MS,
            on_append_ms=print,
            may_write=lambda: True,
            on_fatal=self.errors.append,
        )
        self.outbox.on_lost = self.lose

    def lose(self, task: int, error: BaseException) -> None:
        self.lost.append((task, error))
        self.outbox.drop(task)

    async def write(self, *values: bytes, topic: str = SCORES) -> None:
        self.outbox.put(topic, TASK, [Message(b"k", value) for value in values])
        await asyncio.wait_for(self.outbox.drained(lambda _topic: True), 30)

    def identity(self) -> tuple[int, int]:
        producer = self.producers.of(TASK)
        assert producer is not None
        manager: Any = producer.client._txn_manager
        return manager.producer_id, manager.producer_epoch


@asynccontextmanager
async def client_of(kafka: KafkaServer | str, group: str, renew_s: float = 3600) -> AsyncIterator[Client]:
    """A started client."""
    settings = Settings(broker=kafka if isinstance(kafka, str) else kafka.url, group=group)
    app = faust_app(settings, "test")
    await app.producer.start()
    client = Client(Broker(app), group, renew_s)
    try:
        yield client
        assert client.errors == []
    finally:
        await client.producers.stop()
        await app.producer.stop()


def values(kafka: KafkaServer, topic: str = SCORES, key: bytes = b"k") -> list[bytes | None]:
    return [record.value for record in topic_log.read(kafka.bootstrap, [topic])[topic] if record.key == key]


def test_who_had_a_task_before_can_write_to_none_of_its_topics(kafka: KafkaServer) -> None:
    """Also to a topic to which the new one has written nothing, and as soon as the takeover returns."""

    async def scenario() -> None:
        async with client_of(kafka, "a") as before, client_of(kafka, "a") as after:
            await before.producers.take_over([TASK])
            await before.write(b"1", b"2")
            await after.producers.take_over([TASK])
            producer = before.producers.of(TASK)
            assert producer is not None
            for topic in TOPICS:
                batch = producer.client.create_batch()
                batch.append(key=b"k", value=b"late", timestamp=NOW_MS, headers=[])
                with pytest.raises(ProducerFenced):
                    await (await producer.client.send_batch(batch, topic, partition=TASK))
            await after.write(b"3")
            await before.write(b"late")
            assert [(task, type(error)) for task, error in before.lost] == [(TASK, ProducerFenced)]
            await after.write(b"4")
            assert after.lost == []

    asyncio.run(scenario())
    assert values(kafka) == [b"1", b"2", b"3", b"4"]
    assert values(kafka, ALERTS) == []


def test_a_task_of_another_group_or_number_is_not_shut_out(kafka: KafkaServer) -> None:
    async def scenario() -> None:
        async with client_of(kafka, "b") as first, client_of(kafka, "b2") as second:
            await first.producers.take_over([TASK, 1])
            known = first.identity()
            await second.producers.take_over([TASK])
            await first.producers.take_over([TASK, 1, 0])
            assert first.identity() == known, "what is open stays as it is"
            first.outbox.put(SCORES, 1, [Message(b"b", b"1")])
            first.outbox.put(SCORES, TASK, [Message(b"b", b"2")])
            await first.outbox.drained(lambda _topic: True)
            assert first.lost == second.lost == []

    asyncio.run(scenario())
    assert values(kafka, key=b"b") == [b"1", b"2"]


def test_after_a_refused_batch_the_rest_is_written_in_order_and_once(kafka: KafkaServer) -> None:
    """A record that is too large for the topic is refused until the topic takes it; the same producer goes on."""

    async def scenario() -> None:
        async with client_of(kafka, "c") as client:
            await client.producers.take_over([TASK])
            client.outbox.put(SCORES, TASK, [Message(b"c", b"1"), Message(b"c", bytes(2_000_000)), Message(b"c", b"2")])
            for _ in range(300):
                await asyncio.sleep(0.05)
                if client.outbox.failing and len(client.outbox) == 2:
                    break
            assert client.outbox.failing
            assert len(client.outbox) == 2, "the first one is written by itself"
            client.outbox.put(ALERTS, TASK, [Message(b"c", b"3")])
            await client.outbox.drained(lambda topic: topic == ALERTS)
            with kafka.admin() as admin:
                admin.alter_configs(
                    [ConfigResource(ConfigResourceType.TOPIC, SCORES, {"max.message.bytes": "5000000"})]
                )
            await asyncio.wait_for(client.outbox.drained(lambda _topic: True), 30)
            assert client.lost == []

    asyncio.run(scenario())
    assert [len(value or b"") for value in values(kafka, key=b"c")] == [1, 2_000_000, 1]


@pytest.mark.parametrize("renews", [True, False])
def test_an_id_that_is_used_from_time_to_time_is_not_forgotten(kafka: KafkaServer, *, renews: bool) -> None:
    """Without that, a broker that has forgotten it gives the next one another id, which shuts nobody out."""

    async def scenario() -> tuple[int, int]:
        group = f"d-{renews}"
        async with client_of(kafka, group, renew_s=1 if renews else 3600) as before, client_of(kafka, group) as after:
            await before.producers.take_over([TASK])
            for number in range(2 * FORGETS_AFTER_S):
                await before.write(str(number).encode())
                await asyncio.sleep(1)
            await after.producers.take_over([TASK])
            assert before.lost == []
            return before.identity()[0], after.identity()[0]

    before, after = asyncio.run(scenario())
    assert (before == after) is renews


def test_the_embedded_broker_cannot_shut_anybody_out_and_the_log_says_so_once() -> None:
    async def scenario(address: str) -> list[str]:
        async with client_of(f"kafka://{address}", "e") as client:
            with structlog.testing.capture_logs() as logs:
                await client.producers.take_over([0, 1, TASK])
                await client.producers.take_over([3])
            assert client.producers.of(0) is client.producers.of(3)
            client.outbox.put(SCORES, 0, [Message(b"e", b"1"), Message(b"e", b"2")])
            await asyncio.wait_for(client.outbox.drained(lambda _topic: True), 30)
            assert (client.lost, client.outbox.failing) == ([], False)
            return [entry["event"] for entry in logs]

    with EmbeddedBroker() as broker:
        assert asyncio.run(scenario(broker.address)) == ["broker_cannot_fence"]
