"""What drives the processor: the agent that gets every fetch, the timer that ticks once a second, and the rescorer.

Owns when records are applied, when a tick is made, and that accounts are rescored beside both. Registered with the
Faust app by `agents.worker.wiring`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agents.process.memory import give_back_memory
from agents.worker.client.consumer import Records
from agents.worker.tasks.processor import Processor
from agents.worker.tasks.rescorer import any_rescoring

TICK_S = 1.0


class WorkLoop:
    """The agent and the timer of one worker."""

    def __init__(self, processor: Processor, *, on_fatal: Callable[[BaseException], None]) -> None:
        """Nothing is driven yet."""
        self._processor = processor
        self._on_fatal = on_fatal
        self._rescoring: asyncio.Task[None] | None = None
        processor.on_rescoring = self._begin_rescoring

    async def consume(self, stream: Any) -> None:
        """Apply every event of the stream: one fetch of one partition of one source."""
        processor = self._processor
        async for event in stream.events():
            fetched = event.message.value
            try:
                if isinstance(fetched, Records):
                    await processor.take(fetched)
                await asyncio.sleep(0)  # what came with it, of other partitions and sources, goes into the same step
                if stream.channel.empty() or processor.full():
                    await processor.work()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 -- Faust would acknowledge the batch and lose it
                self._on_fatal(error)

    async def tick(self) -> None:
        """Let the processor see to what no record brings about."""
        try:
            await self._processor.tick()
        except Exception as error:  # noqa: BLE001 -- a timer's exception is only logged by Faust
            self._on_fatal(error)

    def _begin_rescoring(self) -> None:
        """Rescore beside the steps, until no account waits for it."""
        if self._rescoring is None or self._rescoring.done():
            self._rescoring = asyncio.create_task(self._rescore())

    async def _rescore(self) -> None:
        try:
            rescorer = self._processor.rescorer
            has_caught_up = rescorer.is_catching_up()
            await rescorer.rescore(any_rescoring)
            if has_caught_up:
                give_back_memory()  # that of messages about all accounts
        except Exception as error:  # noqa: BLE001 -- accounts would wait for ever
            self._on_fatal(error)
