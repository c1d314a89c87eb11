"""A TCP proxy that can hold what a client sends: the bytes are held, and delivered later, in order.

Owns the connections, and counts the produce requests among the bytes that it holds. The broker has to advertise the
proxy's port on the listener that it leads to (`KafkaServer(advertised=…)`). Called by `tests.faults.test_late_writes`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Self

from tests.broker.kafka_server import free_port

_CHUNK = 64 * 1024
_PRODUCE = 0
_HEAD = struct.Struct(">ih")  # size of a request, and its kind


class _Requests:
    """The requests of one connection, as far as they have been seen."""

    def __init__(self) -> None:
        """Nothing is seen yet."""
        self._rest = b""
        self._skip = 0

    def produced(self, data: bytes) -> int:
        """Return how many produce requests begin in the next bytes."""
        count, data = 0, self._rest + data
        while True:
            skipped = min(self._skip, len(data))
            self._skip, data = self._skip - skipped, data[skipped:]
            if len(data) < _HEAD.size:
                self._rest = data
                return count
            size, kind = _HEAD.unpack_from(data)
            count += kind == _PRODUCE
            self._skip = size + 4


class HoldingProxy:
    """A proxy to a port of 127.0.0.1. As a context manager it listens on entry, and stops on exit."""

    def __init__(self, target: int) -> None:
        """`target` is the port that it leads to."""
        self.port = free_port()
        self._target = target
        self._flows = threading.Event()
        self._flows.set()
        self._changing = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.held_requests = 0
        """Produce requests that were held."""

    def __enter__(self) -> Self:
        """Listen."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self._flows.set()
        for end in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def hold(self) -> None:
        """Keep what clients send from now on."""
        self._flows.clear()

    def release(self) -> None:
        """Deliver what was held, also of connections that the client has closed, and hold no more."""
        self._flows.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                threading.Thread(target=self._send, args=(client, server), daemon=True).start()
                threading.Thread(target=self._receive, args=(server, client), daemon=True).start()

    def _send(self, client: socket.socket, server: socket.socket) -> None:
        """Carry what the client sends, as long as it flows, and read on while it is held."""
        requests, held = _Requests(), bytearray()
        delivery: threading.Thread | None = None
        changing = threading.Lock()

        def deliver() -> None:
            self._flows.wait()
            with changing, contextlib.suppress(OSError):
                server.sendall(held)
                held.clear()

        with contextlib.suppress(OSError):
            while data := client.recv(_CHUNK):
                count = requests.produced(data)
                with changing:
                    if self._flows.is_set() and not held:
                        server.sendall(data)
                        continue
                    held += data
                with self._changing:
                    self.held_requests += count
                if delivery is None or not delivery.is_alive():
                    delivery = threading.Thread(target=deliver, daemon=True)
                    delivery.start()
        if delivery is not None:
            delivery.join()
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    @staticmethod
    def _receive(server: socket.socket, client: socket.socket) -> None:
        """Carry what the broker sends, which the client may not be there for."""
        with contextlib.suppress(OSError):
            while data := server.recv(_CHUNK):
                with contextlib.suppress(OSError):
                    client.sendall(data)
            client.shutdown(socket.SHUT_WR)
