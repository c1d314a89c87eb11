"""Look-ups that wait for the broker: asked again until it answers, or until whoever asks is cancelled.

Owns which errors pass by themselves. Called by `agents.worker.client.consumer` for offsets and positions, which a
recovery of Faust asks for and which end the worker, or its recoveries, when they fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from aiokafka.errors import KafkaError, KafkaTimeoutError

from agents.process.errors import error_text

log = structlog.get_logger()

Answer = TypeVar("Answer")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


async def look_up(what: str, ask: Callable[..., Awaitable[Answer]], *arguments: Any) -> Answer:
    """Ask until there is an answer. Raises the errors that no other try can mend."""
    pause = FIRST_PAUSE_S
    while True:
        try:
            return await ask(*arguments)
        except (KafkaError, TimeoutError) as error:
            if not passes(error):
                raise
            log.warning("look_up_failed", what=what, error=error_text(error), will="retry")
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)


def passes(error: Exception) -> bool:
    """Whether an error of the client passes: the broker may answer the next time."""
    return isinstance(error, TimeoutError | KafkaTimeoutError) or bool(getattr(error, "retriable", False))
