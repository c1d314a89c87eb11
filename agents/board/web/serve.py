"""Run a board: read a broker or a recording, and serve the page and the API.

Owns the wiring and the limits of the web server. Called by `vitals board`; the demo runs that command as a process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Protocol, cast

import structlog
import uvicorn
from starlette.types import ASGIApp

from agents.board.state.board import Board, Record
from agents.board.state.reader import Reader
from agents.board.state.recorded import RecordingError, replay
from agents.board.views.inputs import KafkaInputs, NoInputs
from agents.board.web.app import build_app
from agents.board.web.auth import Access
from agents.board.web.connections import KEEP_ALIVE_S, BoundedProtocol, Limits
from agents.board.web.controls import KafkaControls, NoControls
from agents.board.web.dead_letters import KafkaDeadLetters, NoDeadLetters
from agents.board.web.pages import Pages
from agents.process.errors import error_text
from agents.settings.settings import Settings
from schemas.events import CONTROL_SOURCE
from stream.plan.plan import Plan

_log = structlog.get_logger(__name__)

GRACE_S = 2


class BoardError(RuntimeError):
    """A task of the board has ended with an error; the message names it."""


def serve(settings: Settings, plan: Plan | None) -> int:
    """Read the topics and serve until a signal.

    Raises `SettingsError`; `BrokerError` if there is no broker; `BoardError` if a task has ended with an error.
    """
    Access.of(settings)  # before anything is connected
    board = Board(plan)
    reader = Reader(settings, board)
    consumer = reader.connect()
    build = partial(
        build_app,
        board,
        settings,
        controls=KafkaControls(settings, board.sources[CONTROL_SOURCE].topic),
        inputs=KafkaInputs(settings),
        dead_letters=KafkaDeadLetters(settings, board.sources),
        pages=Pages(),
        work=lambda: reader.run(consumer),
    )
    return _run(build, settings)


def serve_recording(settings: Settings, plan: Plan | None, path: Path, *, follow: bool) -> int:
    """Serve the records of a file. Raises `SettingsError`, `RecordingError` and `BoardError`."""
    board = Board(plan)
    if not follow:
        asyncio.run(replay(path, board, follow=False))
    return _serve_unconnected(settings, board, (lambda: replay(path, board, follow=True)) if follow else None)


def serve_records(settings: Settings, plan: Plan | None, records: Iterable[Record]) -> int:
    """Serve records. Raises `SettingsError` and `BoardError`."""
    board = Board(plan)
    board.apply(records)
    for progress in board.progress.values():
        progress.exists = True
    board.finish_loading()
    return _serve_unconnected(settings, board, None)


def _serve_unconnected(settings: Settings, board: Board, work: Callable[[], Awaitable[None]] | None) -> int:
    """Serve a board that reads no broker."""
    build = partial(
        build_app,
        board,
        settings,
        controls=NoControls(),
        inputs=NoInputs(),
        dead_letters=NoDeadLetters(),
        pages=Pages(),
        work=work,
    )
    return _run(build, settings)


class _BuildApp(Protocol):
    def __call__(self, *, failed: Callable[[BaseException], None]) -> ASGIApp: ...


def _run(build: _BuildApp, settings: Settings) -> int:
    """Serve until a signal, or until a task fails: a board that reads no more would show old data as live."""
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    _log.info("serving", url=address(settings))
    server = server_of(build(failed=failed), settings, Limits.of_process(Access.of(settings).is_proxy))
    server.run()
    for error in failures:
        if isinstance(error, RecordingError):
            raise error
        _log.error("board_failed", exc_info=error)
        msg = f"the board has ended after an error: {error_text(error)}; start it again"
        raise BoardError(msg) from error
    return 0 if server.started else 1


def server_of(app: ASGIApp, settings: Settings, limits: Limits) -> uvicorn.Server:
    """The web server of an application."""
    protocol = cast("type[asyncio.Protocol]", partial(BoundedProtocol, limits))  # uvicorn only calls it
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.board_host,
            port=settings.board_port,
            http=protocol,
            log_config=None,
            access_log=False,  # `agents.board.web.access_log` writes one
            proxy_headers=False,  # `agents.board.web.auth` decides which proxies to trust
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            ws="none",
        )
    )


def address(settings: Settings) -> str:
    """The URL of the board."""
    host = settings.board_host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.board_port}/"
