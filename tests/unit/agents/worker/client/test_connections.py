"""Closing all connections of a client at once, also one that is being opened to a broker that does not answer."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.client import ConnectionGroup

from agents.worker.client.connections import Connections


class Connection:
    """An open connection."""

    closed = False

    def close(self, **_: object) -> None:
        self.closed = True


class Client:
    """A client whose next connection never opens, or opens at once."""

    def __init__(self) -> None:
        self._conns: dict[Any, Connection] = {}
        self.answers = True

    async def _get_conn(self, node_id: int, *, group: int = 0, no_hint: bool = False) -> Connection:
        del no_hint
        if not self.answers:
            await asyncio.Event().wait()
        return self._conns.setdefault((node_id, group), Connection())


def test_open_connections_are_closed() -> None:
    async def scenario() -> None:
        client = Client()
        connections = Connections(client)
        opened = [await client._get_conn(1), await client._get_conn(1, group=ConnectionGroup.COORDINATION)]
        connections.close()
        assert [connection.closed for connection in opened] == [True, True]

    asyncio.run(scenario())


def test_a_connection_that_does_not_open_is_given_up_and_the_next_one_opens() -> None:
    async def scenario() -> None:
        client = Client()
        connections = Connections(client)
        client.answers = False
        opening = asyncio.ensure_future(client._get_conn(1))
        await asyncio.sleep(0)
        connections.close()
        connections.close()
        async with asyncio.timeout(30):
            assert await opening is None
        client.answers = True
        assert await client._get_conn(1) is not None

    asyncio.run(scenario())
