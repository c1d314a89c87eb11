"""What a worker asks of Faust's consumer and producer: offsets, positions, commits, and the clients that send.

Owns the way from the worker's parts to the Faust app, whose consumer exists only once it starts. Called by
`agents.worker.tasks.processor`, `agents.worker.tasks.restorer`, `agents.worker.commit.checkpoint` and
`agents.worker.commit.fencing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import faust
from aiokafka import AIOKafkaProducer
from aiokafka.client import ConnectionGroup, CoordinationType
from faust.types import TP

from agents.worker.client.connections import Connections
from agents.worker.client.consumer import BatchConsumer

_CLOSES_WITHIN_S = 1.0


class Broker:
    """The consumer and the producers of one Faust app."""

    def __init__(self, app: faust.App) -> None:
        """Use the app's clients once they have started."""
        self._app = app
        self._connections: Connections | None = None
        """Those of the producer, once it was used."""

    def producer(self) -> AIOKafkaProducer:
        """Return the app's own producer, started."""
        faust_producer: Any = self._app.producer
        producer: AIOKafkaProducer = faust_producer._ensure_producer()
        if self._connections is None:
            self._connections = Connections(producer.client)
        return producer

    async def idempotent_producer(self, producer_id: int, epoch: int) -> AIOKafkaProducer:
        """Start a producer with the app's settings that writes with an id and epoch, without transactions."""
        faust_producer: Any = self._app.producer
        producer: Any = faust_producer._new_producer(transactional_id="")
        producer._txn_manager.transactional_id = None
        producer._txn_manager.set_pid_and_epoch(producer_id, epoch)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        started: AIOKafkaProducer = producer
        return started

    async def abandon(self, producer: AIOKafkaProducer) -> None:
        """Stop a producer without sending what waits in it."""
        client: Any = producer
        client._closed = True
        for batch in client._message_accumulator._pending_batches:
            batch.future.add_done_callback(_note)  # nobody waits for it any more
        sender = client._sender.sender_task
        sender.cancel()
        await client.client.close()
        while not sender.done():  # it waits for requests under way, which may wait for a broker that is away
            await asyncio.wait({sender}, timeout=_CLOSES_WITHIN_S)
            sender.cancel()
        _note(sender)

    async def ask_coordinator(self, transactional_id: str, request: Any) -> Any:
        """Send a request to the coordinator of a transactional id. Raises `KafkaError`."""
        client: Any = self.producer().client
        node = await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
        return await client.send(node, request, group=ConnectionGroup.COORDINATION)

    def knows_request(self, api_key: int) -> bool:
        """Whether all brokers that we are connected to list a kind of request (ApiVersions)."""
        client: Any = self.producer().client
        return all(api_key in connection._versions for connection in client._conns.values())

    async def rejoin(self) -> None:
        """Ask the group for a new assignment."""
        await self.consumer().rejoin()

    def consumer(self) -> BatchConsumer:
        """Return the app's consumer."""
        consumer = self._app.consumer
        assert isinstance(consumer, BatchConsumer)
        return consumer

    def highwater(self, tp: TP) -> int | None:
        """Return the offset up to which a partition can be read; None while it is not known."""
        try:
            return self.consumer().highwater(tp)
        except Exception:  # noqa: BLE001 -- aiokafka raises its own kinds while a partition is being taken away
            return None

    async def rewind(self, tp: TP, offset: int) -> None:
        """Fetch from this offset on."""
        await self.consumer().rewind(tp, offset)

    async def earliest(self, tp: TP) -> int:
        """Return the first offset that the broker still has."""
        return await self.consumer().earliest(tp)

    async def bounds(self, partitions: Sequence[TP]) -> dict[TP, tuple[int, int]]:
        """Return the first offset that the broker still has, and the end, of each partition."""
        if not partitions:
            return {}
        first = await self.consumer().earliest_offsets(*partitions)
        ends = await self.consumer().highwaters(*partitions)
        return {tp: (int(first[tp]), int(ends[tp])) for tp in partitions}

    def reconnect(self) -> None:
        """Close all connections to the broker and join the group again; does nothing before the clients start."""
        if getattr(self._app, "_consumer", None) is not None:
            self.consumer().reconnect()
        if self._connections is not None:
            self._connections.close()

    async def commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        """Commit positions (next offset to read) of partitions that are still ours; return whether it was done."""
        return await self.consumer().commit_offsets(offsets)


def _note(future: asyncio.Future[Any]) -> None:
    """Take note of how something ended, so that an error is not logged as one that nobody saw."""
    if not future.cancelled():
        future.exception()
