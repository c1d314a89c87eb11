"""Logs every request of a board, without query strings, headers and bodies, which can hold secrets.

Owns the log line. Health, metrics and files are logged at debug level. A client that leaves before its answer is logged
with status 499, as nginx does, and is not an error. Called by `agents.board.web.app`.
"""

from __future__ import annotations

import time

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.board.web.responses import HEALTH_PATHS

CLIENT_LEFT, FAILED = 499, 500
_LONGEST_PATH = 200

_log = structlog.get_logger(__name__)


class AccessLog:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application that sets `client` and `user` in `scope["state"]`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log its answer when it is complete."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began_s = CLIENT_LEFT, time.monotonic()

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except ClientDisconnect:
            status = CLIENT_LEFT
        except Exception:
            status = FAILED
            raise
        finally:
            _line(scope, status, time.monotonic() - began_s)


def _line(scope: Scope, status: int, took_s: float) -> None:
    path, state = scope["path"], scope.get("state", {})
    is_quiet = path in HEALTH_PATHS or path == "/metrics" or path.startswith("/static/")
    (_log.debug if is_quiet else _log.info)(
        "request",
        method=scope["method"],
        path=path[:_LONGEST_PATH],
        status=status,
        ms=round(took_s * 1000),
        client=state.get("client"),
        user=state.get("user"),
    )
