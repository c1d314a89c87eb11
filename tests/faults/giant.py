"""Traffic of which one account has half, and how long the other accounts wait for their scores.

Owns sending it, fast or at a steady rate, and the measurement. Must not know what is tested. Called by
`tests.faults.test_giant_account`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer

from tests.faults import topic_log, verdict
from tests.faults.events import USAGE
from tests.faults.topic_log import PARTITIONS, partition_of

if TYPE_CHECKING:
    from collections.abc import Iterable

GIANT = "giant"
OTHERS = [f"acct-{number}" for number in range(100)]
OTHER_USERS = 50
RATE = 1_000
"""Events a second of other accounts while their latency is measured."""
_PROBE_EVERY = 10
_BATCH_BYTES = 128 * 1024
_TICK_S = 0.01
_PARTITION = {name: partition_of(name.encode()) for name in (GIANT, *OTHERS)}
Usage = tuple[str, str, str, int]
"""Id, account, user and time of an event."""


def both_halves(users: int, at_ms: int) -> Iterable[Usage]:
    """Each user of the giant once, and as many events of the other accounts in between."""
    for number in range(users):
        yield f"g{number}", GIANT, f"u{number}", at_ms
        other = OTHERS[number % len(OTHERS)]
        yield f"o{number}", other, f"u{number // len(OTHERS) % OTHER_USERS}", at_ms


def send(bootstrap: str, events: Iterable[Usage]) -> int:
    """Write events; returns how many."""
    return asyncio.run(_send(bootstrap, [events], 0))


class Phase:
    """Some seconds of steady traffic: `RATE` events a second of other accounts, and as many of the giant or none.

    Each tenth event of the others is the first of a new account, whose first score answers it.
    """

    def __init__(self, name: str, seconds: float, *, giant_users: int = 0) -> None:
        """Nothing is sent yet. `name` begins the names of new accounts."""
        self._name = name
        self._total = int(RATE * seconds)
        self._giant_users = giant_users
        self._asked_ms: dict[bytes, int] = {}

    def send(self, bootstrap: str) -> int:
        """Send it; returns how many events."""
        return asyncio.run(_send(bootstrap, self._due(), _TICK_S))

    def _due(self) -> Iterable[list[Usage]]:
        sent, started = 0, time.monotonic()
        while sent < self._total:
            due = min(self._total, int((time.monotonic() - started) * RATE))
            now_ms = time.time_ns() // 1_000_000
            events: list[Usage] = []
            for number in range(sent, due):
                account = OTHERS[number % len(OTHERS)]
                if number % _PROBE_EVERY == 0:
                    account = f"{self._name}-{number}"
                    self._asked_ms[account.encode()] = now_ms
                events.append((f"{self._name}{number}", account, "u0", now_ms))
                if self._giant_users:
                    user = f"u{number * 7919 % self._giant_users}"
                    events.append((f"{self._name}g{number}", GIANT, user, now_ms))
            sent = due
            yield events

    def latencies_ms(self, bootstrap: str) -> list[int]:
        """Milliseconds from the event of each new account to its first score. Fails if one has no score."""
        answered: dict[bytes | None, int] = {}
        for record in topic_log.read(bootstrap, [verdict.SCORES])[verdict.SCORES]:
            answered.setdefault(record.key, record.timestamp_ms)
        missing = self._asked_ms.keys() - answered.keys()
        assert not missing, f"{len(missing)} of {len(self._asked_ms)} new accounts have no score"
        return [answered[account] - at_ms for account, at_ms in self._asked_ms.items()]


async def _send(bootstrap: str, groups: Iterable[Iterable[Usage]], pause_s: float) -> int:
    count = 0
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=_BATCH_BYTES, acks="all") as producer:
        await producer.partitions_for(USAGE)
        acknowledged: list[Any] = []
        for events in groups:
            batches = {partition: producer.create_batch() for partition in range(PARTITIONS)}
            for identity, account, user, at_ms in events:
                partition = partition_of(account.encode()) if account not in _PARTITION else _PARTITION[account]
                value = f'{{"id":"{identity}","account_id":"{account}","user_id":"{user}","time":{at_ms}}}'.encode()
                while batches[partition].append(key=account.encode(), value=value, timestamp=at_ms) is None:
                    acknowledged.append(await producer.send_batch(batches[partition], USAGE, partition=partition))
                    batches[partition] = producer.create_batch()
                count += 1
            acknowledged += [
                await producer.send_batch(batch, USAGE, partition=partition)
                for partition, batch in batches.items()
                if batch.record_count()
            ]
            await asyncio.sleep(pause_s)
        await asyncio.gather(*acknowledged)
    return count
