"""Many clients of a board's stream: some read, some stop reading, some reconnect with Last-Event-ID.

Owns the clients and the scores that each has received. Knows nothing of the records that are written. Called by
`test_board_clients` and the benchmark.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Literal

import msgspec
from msgspec import Struct

Habit = Literal["reads", "stops", "comes back"]
_SMALL_BUFFER = 16 * 1024
_CONNECT_WITHIN_S = 30.0


class _Value(Struct):
    value: float


class _Row(Struct):
    account_id: str
    scores: dict[str, _Value]


_decode = msgspec.json.Decoder(_Row).decode


class Client:
    """One client of `GET /api/stream`. `known`: the score of each account that it has received."""

    def __init__(self, port: int, habit: Habit) -> None:
        """Connects in `run`."""
        self.habit = habit
        self.known: dict[str, float] = {}
        self.events = 0
        self.resets = 0
        self.connections = 0
        self.bytes = 0
        self.is_connected = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._port = port
        self._last = ""

    async def run(self) -> None:
        """Read for ever, in the way of this client's habit."""
        while True:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._connection()

    async def _connection(self) -> None:
        # HTTP/1.0, so that the events come as they are and not in chunks.
        request = "GET /api/stream HTTP/1.0\r\nHost: localhost\r\n"
        request += f"Last-Event-ID: {self._last}\r\n\r\n" if self._last else "\r\n"
        opened = asyncio.open_connection("127.0.0.1", self._port, limit=_SMALL_BUFFER)
        reader, writer = await asyncio.wait_for(opened, _CONNECT_WITHIN_S)
        self.connections += 1
        try:
            writer.write(request.encode())
            while True:
                await self.may_read.wait()
                chunk = await reader.read(_SMALL_BUFFER)
                if not chunk:
                    return
                if await self._read_events(reader, chunk):
                    return
        finally:
            writer.transport.abort()

    async def _read_events(self, reader: asyncio.StreamReader, chunk: bytes) -> bool:
        """Read whole events, including the rest of the last one; returns whether to reconnect."""
        rest = chunk
        while not rest.endswith(b"\n\n"):
            more = await reader.read(_SMALL_BUFFER)
            if not more:
                return True
            rest += more
        self.bytes += len(rest)
        before = self.events
        for block in rest.split(b"\n\n"):
            self._event(block)
        self.is_connected.set()
        return self.habit == "comes back" and self.events // 500 > before // 500

    def _event(self, block: bytes) -> None:
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
        if b"id" in fields:
            self._last = fields[b"id"].decode()
        if fields.get(b"event") == b"account":
            row = _decode(fields[b"data"])
            self.known[row.account_id] = row.scores["health"].value
            self.events += 1
        elif fields.get(b"event") == b"reset":
            self.resets += 1


class Swarm:
    """Clients of one board: `habits`: the number of clients of each habit."""

    def __init__(self, port: int, habits: dict[Habit, int]) -> None:
        """Create the clients; `start` connects them."""
        self.clients = [Client(port, habit) for habit, count in habits.items() for _ in range(count)]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect all; those that stop do so after the first event."""
        self._tasks = [asyncio.create_task(client.run()) for client in self.clients]
        for client in self.clients:
            await client.is_connected.wait()
            if client.habit == "stops":
                client.may_read.clear()

    def read_on(self) -> None:
        """Let the clients that have stopped read again."""
        for client in self.clients:
            client.may_read.set()

    async def until_known(self, truth: dict[str, float], patience_s: float) -> float:
        """Wait until each client has exactly these scores; returns the seconds. Fails and names one that has not."""
        started_s = time.monotonic()
        while wrong := [client for client in self.clients if client.known != truth]:
            for task in self._tasks:
                if task.done():
                    task.result()
            waited_s = time.monotonic() - started_s
            assert waited_s < patience_s, f"{len(wrong)} clients do not have these scores; the first {wrong[0].habit}"
            await asyncio.sleep(0.05)
        return time.monotonic() - started_s

    async def stop(self) -> None:
        """Disconnect all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
