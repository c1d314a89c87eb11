"""Ask a broker whether it answers, on a connection of its own that is closed again.

Owns the question. Called by `agents.worker.monitoring.session` while the group is silent.
"""

from __future__ import annotations

import asyncio

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from agents.settings.settings import Settings

ANSWER_S = 5.0


async def broker_answers(settings: Settings) -> bool:
    """Return whether one of the bootstrap servers answers within `ANSWER_S`."""
    client = AIOKafkaClient(
        bootstrap_servers=settings.bootstrap_servers(),
        request_timeout_ms=int(ANSWER_S * 1000),
        **credentials_to_aiokafka_auth(settings.faust_credentials(), None),
    )
    try:
        async with asyncio.timeout(ANSWER_S):
            await client.bootstrap()
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await client.close()
    return True
