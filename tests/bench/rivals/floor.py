"""The floor: a consumer loop that reads every event as our worker does, and does nothing with it.

Fetches are indexed whole, events become columns of what an engine needs, and the collector of cyclic garbage rests.
Owns only that loop. Started by `commands` as `python -m tests.bench.rivals.floor BOOTSTRAP GROUP TOPIC`.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher

from agents.kafka.record_index import values_of, whole
from agents.worker.client import thread
from agents.worker.client.batch_index import RawRecords
from schemas.event_columns import read_events
from schemas.native.library import load
from schemas.sources import BUILT_IN

_COMMIT_INTERVAL_S = 0.2  # it would have read everything before its second commit


async def consume(bootstrap: str, group: str, topic: str) -> None:
    """Read and parse until SIGTERM, committing five times a second."""
    thread._this_thread.library = load()
    fetcher.PartitionRecords, fetcher.MemoryRecords = thread.WholeBatches, RawRecords
    gc.freeze()
    gc.disable()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    source = BUILT_IN["product-usage"]
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
                read_events(source, values_of(whole(records)))
                pending = True
            if pending and loop.time() - committed_at >= _COMMIT_INTERVAL_S:
                await consumer.commit()
                committed_at = loop.time()
                pending = False
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(consume(*sys.argv[1:4]))
