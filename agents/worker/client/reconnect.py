"""Pauses between connections that a broker refuses for good, such as after its password has changed, and their cause.

aiokafka connects again ten times a second, for each client, whatever the cause. Owns the replacement of its function
`create_conn`, and the cause that `/readyz` shows. Connections that fail for other causes, such as a broker that
restarts, are tried again as before. Called by `agents.worker.client.app` and `agents.worker.monitoring.health`.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import aiokafka.client
import structlog
from aiokafka import errors

from agents.process.errors import error_text

SHORTEST_S, LONGEST_S = 0.5, 10.0
_FINAL = (
    errors.SaslAuthenticationFailed,
    errors.AuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
    ssl.SSLError,
)

log = structlog.get_logger()
Create = Callable[..., Awaitable[Any]]


class _Refused(NamedTuple):
    """How often a broker has refused connections, why, and when the next one may be tried."""

    times: int
    why: str
    not_before_s: float


class Reconnects:
    """Makes connections with `create`; `clock_s` is a monotonic clock."""

    def __init__(self, create: Create, clock_s: Callable[[], float] = time.monotonic) -> None:
        """No broker has refused a connection."""
        self._create = create
        self._clock_s = clock_s
        self._refused: dict[tuple[str, int], _Refused] = {}

    def problem(self) -> str | None:
        """Why brokers refuse connections, or None."""
        for (host, port), refused in self._refused.items():
            return f"the broker {host}:{port} refuses connections: {refused.why}"
        return None

    async def connect(self, host: str, port: int, **options: Any) -> Any:
        """A connection to a broker, after the pause that its last refusal asks for."""
        address = (host, port)
        before = self._refused.get(address)
        if before is not None:
            await asyncio.sleep(max(0.0, before.not_before_s - self._clock_s()))
        try:
            connection = await self._create(host, port, **options)
        except _FINAL as error:
            self._refuse(address, error)
            raise
        if self._refused.pop(address, None):
            log.info("broker_accepts_again", broker=f"{host}:{port}")
        return connection

    def _refuse(self, address: tuple[str, int], error: Exception) -> None:
        times = self._refused[address].times + 1 if address in self._refused else 1
        pause_s = min(LONGEST_S, SHORTEST_S * 2 ** min(times - 1, 10))
        why = error_text(error)
        self._refused[address] = _Refused(times, why, self._clock_s() + pause_s)
        if times == 1:
            log.error(
                "broker_refuses", broker=f"{address[0]}:{address[1]}", error=why, will="retry", at_most_s=LONGEST_S
            )


_reconnects = Reconnects(aiokafka.client.create_conn)


def pause_after_refusals() -> None:
    """Make all of aiokafka's clients of this process connect with pauses."""
    aiokafka.client.create_conn = _reconnects.connect


def refusal() -> str | None:
    """Why brokers refuse connections of this process, or None."""
    return _reconnects.problem()
