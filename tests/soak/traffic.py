"""The events of a soak: so many a second, of accounts that come and go.

Owns what is sent and when. Called by `tests.soak.__main__`.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import TYPE_CHECKING, Self

from aiokafka import AIOKafkaProducer

from tests.faults.events import SURVEYS, TICKETS, USAGE, event
from tests.faults.topic_log import Message, partition_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNTS = 1200
PRESENT = 400
"""How many accounts have events at a time."""
STAY_S = 40.0
"""How long an account stays; all have been there after two minutes, and come back again and again."""
USERS = 5
"""Users, and tickets, of an account: few, so that the state is complete before the warm-up ends."""
STEP_S = 0.1
PROFILES = "accounts"


class Traffic:
    """Sends events from a thread until it is left."""

    def __init__(self, bootstrap: str, events_a_second: int) -> None:
        """Nothing is sent yet."""
        self.sent = 0
        self.error: BaseException | None = None
        self._bootstrap = bootstrap
        self._step = max(1, round(events_a_second * STEP_S))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._random = random.Random(7)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._send())
        except Exception as error:  # noqa: BLE001 -- the main thread raises it
            self.error = error

    async def _send(self) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all", linger_ms=5)
        await producer.start()
        try:
            began, present = time.monotonic(), range(0)
            number = 0
            while not self._stop.is_set():
                number += 1
                first = int((time.monotonic() - began) / STAY_S * PRESENT)
                now = range(first, first + PRESENT)
                messages = [*self._profiles(present, now), *(self._event(now) for _ in range(self._step))]
                present = now
                for message in messages:
                    assert message.key is not None
                    await producer.send(
                        message.topic, message.value, key=message.key, partition=partition_of(message.key)
                    )
                self.sent += len(messages)
                await asyncio.sleep(max(0.0, began + number * STEP_S - time.monotonic()))
        finally:
            await producer.stop()

    def _profiles(self, before: range, now: range) -> Iterator[Message]:
        """Profiles of accounts that have come, and tombstones of those that have gone."""
        for number in now:
            if number not in before:
                yield event(PROFILES, f"p{number}-{time.time_ns()}", _account(number), _now_ms(), name=f"N{number}")
        for number in before:
            if number not in now:
                yield Message(PROFILES, _account(number).encode(), None, _now_ms())

    def _event(self, present: range) -> Message:
        account = _account(self._random.choice(present))
        identity, kind = f"{time.time_ns()}-{self._random.random()}", self._random.random()
        if kind < 0.8:
            user = f"u{self._random.randrange(USERS)}"
            return event(USAGE, identity, account, _now_ms(), user_id=user)
        if kind < 0.9:
            ticket = f"t{self._random.randrange(USERS)}"
            return event(TICKETS, identity, account, _now_ms(), ticket_id=ticket, status="opened", priority="low")
        return event(SURVEYS, identity, account, _now_ms(), kind="nps", score=self._random.randrange(11))


def _account(number: int) -> str:
    return f"acct-{number % ACCOUNTS}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
