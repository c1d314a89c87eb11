"""Running a board: broker or recording in, web server out.

Owns what is put together and the web server's limits. Called by `vitals board`, which the demo starts as a process of
its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog
import uvicorn
from starlette.types import ASGIApp

from agents.board.state.board import Board
from agents.board.state.reader import Reader
from agents.board.state.recorded import RecordingError, replay
from agents.board.views.inputs import KafkaInputs, NoInputs
from agents.board.web.app import build_app
from agents.board.web.auth import Access
from agents.board.web.controls import KafkaControls, NoControls
from agents.board.web.pages import Pages
from agents.settings.settings import Settings
from stream.plan.plan import Plan

_log = structlog.get_logger(__name__)

GRACE_S = 2
MOST_CONNECTIONS = 2_000
KEEP_ALIVE_S = 20


class BoardError(RuntimeError):
    """Something that the board can not do without has ended; the message says which error ended it."""


def serve(settings: Settings, plan: Plan | None) -> int:
    """Read the topics and serve until a signal ends it.

    Raises `SettingsError`; without a broker `BrokerError`; when reading has ended by an error `BoardError`.
    """
    Access.of(settings)  # before anything is connected
    board = Board(plan)
    reader = Reader(settings, board)
    consumer = reader.connect()
    make = partial(
        build_app,
        board,
        settings,
        controls=KafkaControls(settings),
        inputs=KafkaInputs(settings),
        pages=Pages(),
        work=lambda: reader.run(consumer),
    )
    return _run(make, settings)


def serve_recording(settings: Settings, plan: Plan | None, path: Path, *, follow: bool) -> int:
    """Serve what a file holds. Raises `SettingsError`, `RecordingError` and `BoardError`."""
    board = Board(plan)
    if not follow:
        asyncio.run(replay(path, board, follow=False))
    work: Callable[[], Awaitable[None]] | None = (lambda: replay(path, board, follow=True)) if follow else None
    make = partial(build_app, board, settings, controls=NoControls(), inputs=NoInputs(), pages=Pages(), work=work)
    return _run(make, settings)


class _Make(Protocol):
    def __call__(self, *, failed: Callable[[BaseException], None]) -> ASGIApp: ...


def _run(make: _Make, settings: Settings) -> int:
    """Serve until a signal or an error beside the answers, which is raised: a board that reads no more would lie."""
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    _log.info("serving", url=address(settings))
    server = uvicorn.Server(
        uvicorn.Config(
            make(failed=failed),
            host=settings.board_host,
            port=settings.board_port,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # whom to believe is for `agents.board.web.auth`
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            ws="none",
        )
    )
    server.run()
    for error in failures:
        if isinstance(error, RecordingError):
            raise error
        _log.error("board_failed", exc_info=error)
        msg = f"the board has ended, since it can not go on: {type(error).__name__} {error}; start it again"
        raise BoardError(msg) from error
    return 0 if server.started else 1


def address(settings: Settings) -> str:
    """Where a browser finds the board."""
    host = settings.board_host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.board_port}/"
