"""Limits of a board's connections: how many, how many of one client, and how long a request may take to arrive.

Owns which connection is closed when there are too many: the one that has been open longest without a request in
progress, as nginx does. Only if all are in use is a request answered 503, and health never. Subclasses uvicorn's
protocol; `tests/unit/agents/board/web/test_connections.py` fails when a hook of it has changed. Called by
`agents.board.web.serve`.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import h11
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from agents.board.web.addresses import client_key
from agents.board.web.responses import HEALTH_PATHS, error_response

MOST_CONNECTIONS = 2_000
KEEP_ALIVE_S = 20
REQUEST_S = 10.0
"""Time for a whole request, header and body, from the connection or from the first byte of a later request."""
_OTHER_FILES = 200
"""File descriptors left for the broker's connections, files and a short overlap of connections."""
_LOG_EVERY_S = 10.0

_log = structlog.get_logger(__name__)


class Limits:
    """The open connections of one board."""

    def __init__(
        self, most: int, most_of_one: int, is_proxy: Callable[[str | None], bool] = lambda _address: False
    ) -> None:
        """`most_of_one`: of one client; a trusted proxy's connections are those of many clients, so it has no limit."""
        self._most, self._most_of_one, self._is_proxy = most, most_of_one, is_proxy
        self._all: dict[BoundedProtocol, None] = {}  # in the order of opening
        self._by_client: defaultdict[str, dict[BoundedProtocol, None]] = defaultdict(dict)
        self._unlogged, self._logged_s = 0, -_LOG_EVERY_S

    @classmethod
    def of_process(cls, is_proxy: Callable[[str | None], bool]) -> Limits:
        """2,000 connections, or fewer if the process may not open as many files; a quarter of them for one client."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST_CONNECTIONS if files == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, files - _OTHER_FILES)
        most = max(most, 8)
        return cls(most, most // 4, is_proxy)

    def admit(self, connection: BoundedProtocol, address: str | None) -> bool:
        """Add a connection; whether there is room for its requests."""
        mine = self._by_client[client_key(address)]
        mine[connection] = self._all[connection] = None
        has_room = self._is_proxy(address) or len(mine) <= self._most_of_one or _close_idle(mine, connection)
        has_room = has_room and (len(self._all) <= self._most or _close_idle(self._all, connection))
        if not has_room:
            self._unlogged += 1
            if time.monotonic() - self._logged_s >= _LOG_EVERY_S:
                _log.warning("connections_refused", address=address, refused=self._unlogged, open=len(self._all))
                self._unlogged, self._logged_s = 0, time.monotonic()
        return has_room

    def remove(self, connection: BoundedProtocol, address: str | None) -> None:
        """Remove a connection that is closed."""
        self._all.pop(connection, None)
        client = client_key(address)
        if mine := self._by_client.get(client):
            mine.pop(connection, None)
        if not self._by_client.get(client):
            self._by_client.pop(client, None)


def _close_idle(connections: dict[BoundedProtocol, None], new: BoundedProtocol) -> bool:
    """Close the oldest idle connection except the new one; whether there was one."""
    idle = next((each for each in connections if each is not new and each.is_idle()), None)
    if idle is not None:
        idle.drop()
    return idle is not None


class BoundedProtocol(H11Protocol):
    """A connection within limits, whose requests must arrive in time."""

    def __init__(self, limits: Limits, **named: Any) -> None:
        """`named` is what uvicorn passes."""
        super().__init__(**named)
        self._limits = limits
        self._address: str | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def is_idle(self) -> bool:
        """Whether no request is in progress: none was sent, its header is not complete, or it is answered."""
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn calls it never None
        return cycle is None or cycle.response_complete

    def drop(self) -> None:
        """Close the connection at once."""
        self._limits.remove(self, self._address)  # at once: otherwise the next connection is closed for it, too
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Find room for the connection."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else None
        if not self._limits.admit(self, self._address):
            self.app = _health_only(self.app)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the room back."""
        super().connection_lost(exc)
        self._forget_deadline()
        self._limits.remove(self, self._address)

    def data_received(self, data: bytes) -> None:
        """Start the time of a request with its first byte, and stop it with its last."""
        super().data_received(data)
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._expect_request()
        else:
            self._forget_deadline()

    def _expect_request(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _health_only(app: ASGIApp) -> ASGIApp:
    """The application of a connection for which there is no room."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in HEALTH_PATHS:
            refusal = error_response(503, "the board has too many connections; try again", {"Connection": "close"})
            await refusal(scope, receive, send)
        else:
            await app(scope, receive, send)

    return answer
