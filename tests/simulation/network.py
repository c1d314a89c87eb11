"""A simulated network between one worker and the broker: delays, and directions that are cut.

Owns when a request takes effect and when its answer arrives. A request that was sent takes effect also when the
worker's process has ended meanwhile; when its machine has failed, what it had sent last may be lost.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiokafka.errors import KafkaTimeoutError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

T = TypeVar("T")
REQUEST_TIMEOUT_S = 30.0
_STALLS, _STALL_S = 0.1, 3.0
"""So many of the requests and answers take so long at most: each may be on a connection to a broker of its own."""


class Network:
    """The connections of one worker."""

    def __init__(self, random: random.Random, slow_s: float) -> None:
        """Each way takes up to `slow_s`."""
        self._random = random
        self._slow_s = slow_s
        self.up, self.down = asyncio.Event(), asyncio.Event()
        self._on_the_way: set[asyncio.Task[Any]] = set()
        self._unsent: dict[asyncio.Task[Any], None] = {}
        self.heal()

    def cut(self, *, up: bool, down: bool) -> None:
        """Hold requests, answers or both, until `heal`."""
        if up:
            self.up.clear()
        if down:
            self.down.clear()

    def lose(self) -> None:
        """Lose the requests that have not reached the broker."""
        for delivery in list(self._unsent):
            delivery.cancel()

    def heal(self) -> None:
        """Let everything through that was held."""
        self.up.set()
        self.down.set()

    async def call(self, request: Callable[[], T], timeout_s: float = REQUEST_TIMEOUT_S) -> T:
        """Send a request and return its answer. Raises `KafkaTimeoutError`, and what the request raises."""
        delivery = asyncio.get_running_loop().create_task(self._deliver(request))
        self._on_the_way.add(delivery)
        self._unsent[delivery] = None
        delivery.add_done_callback(self._arrived)
        try:
            return await asyncio.wait_for(asyncio.shield(delivery), timeout_s)
        except TimeoutError as error:
            raise KafkaTimeoutError from error

    def _arrived(self, delivery: asyncio.Task[Any]) -> None:
        self._on_the_way.discard(delivery)
        self._unsent.pop(delivery, None)
        if not delivery.cancelled():
            delivery.exception()  # the caller may have stopped waiting for it

    async def _deliver(self, request: Callable[[], T]) -> T:
        await self._pass(self.up)
        self._unsent.pop(cast("asyncio.Task[T]", asyncio.current_task()), None)
        try:
            answer = request()
        finally:
            await self._pass(self.down)
        return answer

    async def _pass(self, direction: asyncio.Event) -> None:
        stalls = self._random.random() < _STALLS
        await asyncio.sleep(self._random.uniform(0.0, _STALL_S if stalls else self._slow_s))
        await direction.wait()
