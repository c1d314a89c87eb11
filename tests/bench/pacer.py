"""Sends usage events at a steady rate, each hundredth for an account never seen before: its first score answers it.

Owns the pace. Must not know who reads. Started by `latency` as
`python -m tests.bench.pacer BOOTSTRAP TOPIC RATE SECONDS`; prints the rate that it reached.
"""

from __future__ import annotations

import asyncio
import sys
import time

from aiokafka import AIOKafkaProducer

from tests.bench.loading import partition_of
from tests.bench.rules import PARTITIONS
from tests.bench.workload import ACCOUNTS, account_id

PROBE_EVERY = 100
_BATCH_BYTES = 1024 * 1024
PROBE = b"probe-"
_TICK_S = 0.005
"""What has come due goes out every 5 ms, as with `linger.ms=5`, the default of Kafka 4's own producer."""


def _event(number: int, account: str) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    return (
        f'{{"id":"paced-{number:09x}","account_id":"{account}","time":{now_ms},'
        f'"user_id":"{account}-{number % 12:02d}","feature":"reports","count":2}}'
    ).encode()


async def pace(bootstrap: str, topic: str, rate: int, seconds: float) -> float:
    """Send `rate` events a second for so long; return the events a second that were really sent."""
    ids = [account_id(number) for number in range(ACCOUNTS)]
    homes = [(name, name.encode(), partition_of(name.encode())) for name in ids]
    total = int(rate * seconds)
    loop = asyncio.get_running_loop()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=_BATCH_BYTES) as producer:
        await producer.partitions_for(topic)
        started = loop.time()
        sent, acknowledged = 0, []
        while sent < total:
            due = min(total, int((loop.time() - started) * rate))
            batches = {partition: producer.create_batch() for partition in range(PARTITIONS)}
            for number in range(sent, due):
                if number % PROBE_EVERY == 0:
                    key = PROBE + b"%07d" % number
                    account, partition = key.decode(), partition_of(key)
                else:
                    # A step that shares no factor with their number visits all accounts in turn.
                    account, key, partition = homes[number * 7919 % ACCOUNTS]
                if batches[partition].append(key=key, value=_event(number, account), timestamp=None) is None:
                    message = f"{rate} events/s do not fit into batches of {_BATCH_BYTES} bytes each {_TICK_S} s"
                    raise ValueError(message)
            for partition, batch in batches.items():
                if batch.record_count():
                    acknowledged.append(await producer.send_batch(batch, topic, partition=partition))
            sent = due
            await asyncio.sleep(_TICK_S)
        reached = total / (loop.time() - started)
        await asyncio.gather(*acknowledged)
    return reached


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(pace(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))}\n")
