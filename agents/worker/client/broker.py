"""What a worker asks Faust's consumer and producer for: offsets, positions, commits, and the client that sends.

Owns the way from the worker's parts to the Faust app, whose consumer exists only once it starts. Called by
`agents.worker.tasks.processor`, `agents.worker.commit.checkpoint` and `agents.worker.commit.outbox`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import faust
from aiokafka import AIOKafkaProducer
from faust.types import TP

from agents.worker.client.connections import Connections
from agents.worker.client.consumer import BatchConsumer


class Broker:
    """The consumer and the producer of one Faust app."""

    def __init__(self, app: faust.App) -> None:
        """Use the app's clients once they have started."""
        self._app = app
        self._connections: Connections | None = None
        """Those of the producer, once it was used."""

    def producer(self) -> AIOKafkaProducer:
        """Return the started producer."""
        faust_producer: Any = self._app.producer
        producer: AIOKafkaProducer = faust_producer._ensure_producer()
        if self._connections is None:
            self._connections = Connections(producer.client)
        return producer

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
