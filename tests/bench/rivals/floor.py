"""The floor: a consumer loop that parses every event and does nothing with it. No engine in Python can be much faster.

It reads as our worker does: fetches are unpacked whole, and the collector of cyclic garbage rests.
Owns only that loop. Started by `commands` as `python -m tests.bench.rivals.floor BOOTSTRAP GROUP TOPIC`.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher

from agents.worker.client.thread import WholeBatches

_COMMIT_INTERVAL_S = 0.2  # it would have read everything before its second commit


class UsageEvent(msgspec.Struct, gc=False):
    """The fields that an engine needs of an event."""

    id: str
    account_id: str
    time: int
    user_id: str = ""
    count: int = 1


async def consume(bootstrap: str, group: str, topic: str) -> None:
    """Read and parse until SIGTERM, committing five times a second."""
    fetcher.PartitionRecords = WholeBatches
    gc.freeze()
    gc.disable()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    decoder = msgspec.json.Decoder(UsageEvent)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        committed_at = loop.time()
        pending = False
        while not ended.is_set():
            for records in (await consumer.getmany(timeout_ms=200)).values():
                decoder.decode_lines(b"\n".join([record.value for record in records]))
                pending = True
            if pending and loop.time() - committed_at >= _COMMIT_INTERVAL_S:
                await consumer.commit()
                committed_at = loop.time()
                pending = False
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(consume(*sys.argv[1:4]))
