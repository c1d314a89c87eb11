"""A TCP proxy between a worker and its broker that loses, holds, delays, throttles or resets what goes through it.

Owns the connections and what becomes of their bytes. Must not know Kafka. The broker has to advertise the proxy's port
on the listener that it leads to (`KafkaServer(advertised=…)`), or clients go round it. Called by the tests of this
folder.

A connection that has lost bytes carries none in that direction after the fault either, as on a path whose packets
vanish for longer than both ends remember each other; or it goes on behind the gap, as a broken middlebox does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Literal, Self

from tests.broker.kafka_server import free_port

if TYPE_CHECKING:
    from collections.abc import Coroutine

Direction = Literal["to broker", "from broker"]
TO_BROKER: Direction = "to broker"
FROM_BROKER: Direction = "from broker"
_CHUNK = 16 * 1024
_RESET = struct.pack("ii", 1, 0)


class _Path:
    """One direction of all connections."""

    def __init__(self) -> None:
        """Let everything through at once."""
        self.loses = False
        self.goes_on = False
        """Whether a connection that has lost bytes carries later ones."""
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        self._free_at = 0.0
        """When the bytes that were let through before are through."""

    async def pass_on(self, data: bytes, due: float) -> None:
        """Wait until these bytes are through, given when the delay alone lets them through."""
        if self.bytes_per_s:
            self._free_at = max(self._free_at, time.monotonic()) + len(data) / self.bytes_per_s
            due = max(due, self._free_at)
        await asyncio.sleep(max(0.0, due - time.monotonic()))


class TcpProxy:
    """A proxy to a port of 127.0.0.1. As a context manager it listens on entry, and stops on exit."""

    def __init__(self, target: int) -> None:
        """`target` is the port that it leads to."""
        self.port = free_port()
        self._target = target
        self._paths: dict[Direction, _Path] = {TO_BROKER: _Path(), FROM_BROKER: _Path()}
        self._resets = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None] | None] = set()
        """Nothing else refers to a connection that has lost bytes: it would be closed as garbage."""
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- faults -------------------------------------------------------------------------------------------------------

    def lose(self, *directions: Direction, goes_on: bool = False) -> None:
        """Lose everything that goes in these directions until `heal`.

        Connections that have lost bytes carry none later either, unless `goes_on`.
        """
        for direction in directions:
            self._paths[direction].loses, self._paths[direction].goes_on = True, goes_on

    def slow(self, delay_s: float, bytes_per_s: float) -> None:
        """Delay both directions, and let so many bytes a second through, over all connections."""
        for path in self._paths.values():
            path.delay_s, path.bytes_per_s = delay_s, bytes_per_s

    def reset(self) -> None:
        """Reset all connections, and each new one as soon as it is accepted."""
        self._resets = True
        self._call(self._abort())

    def heal(self) -> None:
        """End all faults. Connections that have lost bytes stay as they are."""
        self._resets = False
        for path in self._paths.values():
            path.loses, path.delay_s, path.bytes_per_s = False, 0.0, 0.0

    # -- connections --------------------------------------------------------------------------------------------------

    def _call(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _abort(self) -> None:
        for writer in list(self._writers):
            _abort(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._resets:
            _abort(writer)
            return
        try:
            from_target, to_target = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _abort(writer)
            return
        self._writers |= {writer, to_target}
        connection = asyncio.current_task()
        self._connections.add(connection)
        try:
            # The end of the proxy: asyncio would log each cancellation as an error.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(
                    self._carry(TO_BROKER, reader, to_target), self._carry(FROM_BROKER, from_target, writer)
                )
        finally:
            self._connections.discard(connection)
            for end in (writer, to_target):
                self._writers.discard(end)
                end.close()

    async def _carry(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction of a connection. Its end is carried on too, unless bytes were lost before it."""
        path = self._paths[direction]
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        delivery = asyncio.ensure_future(self._deliver(path, on_the_way, writer))
        lost = False
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(_CHUNK):
                    lost = path.loses or (lost and not path.goes_on)
                    if not lost:
                        await on_the_way.put((time.monotonic() + path.delay_s, data))
            lost = path.loses or (lost and not path.goes_on)
            if not lost:
                await on_the_way.put((time.monotonic() + path.delay_s, b""))
            await (asyncio.Event().wait() if lost else delivery)
        finally:
            delivery.cancel()

    @staticmethod
    async def _deliver(
        path: _Path, on_the_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due, data = await on_the_way.get()
            await path.pass_on(data, due)
            with contextlib.suppress(OSError):
                if not data:
                    writer.close()
                    return
                writer.write(data)
                await writer.drain()


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close a connection by a reset."""
    end = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
