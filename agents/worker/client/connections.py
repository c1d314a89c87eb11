"""The connections of an aiokafka client: closed all at once, also those that are still being opened.

Owns no connection. Called by `agents.worker.client.thread` when the worker has to begin anew with the broker.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.conn import CloseReason


class Connections:
    """The connections of one client, open or on the way."""

    def __init__(self, client: Any) -> None:
        """Watch which connections an `AIOKafkaClient` opens."""
        self._client = client
        self._opening: set[asyncio.Timeout] = set()
        self._open = client._get_conn
        client._get_conn = self._get_conn

    async def _get_conn(self, node_id: Any, **named: Any) -> Any:
        """Open a connection, or give up when `close` is called; as the client, None where there is none."""
        # A broker that does not answer holds the client's lock until the request times out.
        try:
            async with asyncio.timeout(None) as opening:
                self._opening.add(opening)
                try:
                    return await self._open(node_id, **named)
                finally:
                    self._opening.discard(opening)
        except TimeoutError:
            return None

    def close(self) -> None:
        """Close everything: what waits for an answer fails at once, and the next request opens a connection."""
        for opening in [opening for opening in self._opening if not opening.expired()]:
            opening.reschedule(asyncio.get_running_loop().time())
        for connection in list(self._client._conns.values()):
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
