"""Connections of a board: idle and slow clients do not keep others out, and health is answered whatever happens.

All sockets are real. The first test has a board in its own process; the others have its server in a thread, with
smaller limits and time-outs.
"""

from __future__ import annotations

import contextlib
import http.client
import resource
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvicorn

from agents.board.views.inputs import NoInputs
from agents.board.web import connections, serve
from agents.board.web.app import build_app
from agents.board.web.auth import Access
from agents.board.web.connections import Limits
from agents.board.web.dead_letters import NoDeadLetters
from agents.board.web.pages import Pages
from tests.browser.board_process import Board
from tests.driving.boards import TOKEN, RecordingControls, board_of, score, settings

PATIENCE_S = 30.0
SUMMARY = b"GET /api/summary HTTP/1.1\r\nHost: localhost\r\n\r\n"
STREAM = b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"


def status_of(port: int, path: str, source: str = "127.0.0.1") -> int:
    """The status of a request on a connection of its own; `source` is the address of the client."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S, source_address=(source, 0))
    try:
        client.request("GET", path, headers={"Connection": "close"})
        return client.getresponse().status
    finally:
        client.close()


def connect(stack: ExitStack, port: int, source: str = "127.0.0.1", sends: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S, source_address=(source, 0))
    stack.enter_context(client)
    if sends:
        client.sendall(sends)
    return client


def is_closed(client: socket.socket) -> bool:
    """Whether the server closes the connection; fails after a time. What it sends before is read."""
    with contextlib.suppress(ConnectionError):
        while client.recv(65_536):
            pass
    return True


def test_2010_idle_connections_and_2000_without_a_whole_header_keep_nobody_out(tmp_path: Path) -> None:
    recording = tmp_path / "records.jsonl"
    recording.touch()
    with Board(tmp_path / "board.log", "--from", str(recording)) as board, ExitStack() as stack:
        for number in range(2_010):
            connect(stack, board.port, f"127.0.0.{2 + number % 8}")
        assert [status_of(board.port, path) for path in ("/api/summary", "/healthz")] == [200, 200]
        for number in range(2_000):
            with contextlib.suppress(ConnectionError):  # the board may close it at once
                connect(stack, board.port, f"127.0.0.{2 + number % 8}", b"GET /api/summary HTTP/1.1\r\nHost: l")
        assert [status_of(board.port, path) for path in ("/api/summary", "/healthz")] == [200, 200]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Starts a board's server in a thread, with limits; returns its port."""
    with ExitStack() as stack:

        def starting(most: int = 50, most_of_one: int = 20, is_proxied: bool = False, **seconds: float) -> int:
            for name, value in seconds.items():
                monkeypatch.setattr(serve if name == "keep_alive_s" else connections, name.upper(), value)
            options = settings(board_port=0, **(PROXIED if is_proxied else {}))
            app = build_app(
                board_of(score("a", 30.0)),
                options,
                controls=RecordingControls(),
                inputs=NoInputs(),
                dead_letters=NoDeadLetters(),
                pages=Pages(),
                failed=fail,
            )
            server = serve.server_of(app, options, Limits(most, most_of_one, Access.of(options).is_proxy))
            thread = threading.Thread(target=server.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)
            return port_of(server)

        yield starting


def fail(error: BaseException) -> None:
    raise error


PROXIED = {"board_proxies": "127.0.0.0/8", "board_token": TOKEN}


def port_of(server: uvicorn.Server) -> int:
    until_s = time.monotonic() + PATIENCE_S
    while not server.started:
        assert time.monotonic() < until_s, "the server does not start"
        time.sleep(0.01)
    return int(server.servers[0].sockets[0].getsockname()[1])


@pytest.mark.parametrize(("files", "most"), [(1024, 824), (20_000, 2_000), (resource.RLIM_INFINITY, 2_000), (100, 8)])
def test_the_limit_leaves_file_descriptors_for_the_rest_of_the_process(
    monkeypatch: pytest.MonkeyPatch, files: int, most: int
) -> None:
    monkeypatch.setattr("agents.board.web.connections.resource.getrlimit", lambda _which: (files, files))
    limits = Limits.of_process(lambda _address: False)
    assert (limits._most, limits._most_of_one) == (most, most // 4)


def test_the_oldest_idle_connection_makes_room_for_a_new_one(start: Callable[..., int]) -> None:
    port = start(most=5, most_of_one=5)
    with ExitStack() as stack:
        idle = [connect(stack, port, f"127.0.0.{number}") for number in range(2, 7)]
        idle[0].sendall(SUMMARY)
        assert idle[0].recv(12) == b"HTTP/1.1 200"
        assert status_of(port, "/api/summary") == 200
        assert is_closed(idle[0])
        assert not select.select(idle[1:], [], [], 0)[0], "more connections were closed than needed"


def test_an_address_can_use_up_its_own_connections_only(start: Callable[..., int]) -> None:
    port = start(most=50, most_of_one=4)
    with ExitStack() as stack:
        streams = [connect(stack, port, "127.0.0.2", STREAM) for _ in range(4)]
        for stream in streams:
            assert stream.recv(12) == b"HTTP/1.1 200"
        assert status_of(port, "/api/summary", "127.0.0.2") == 503
        assert status_of(port, "/healthz", "127.0.0.2") == 200
        assert status_of(port, "/readyz", "127.0.0.2") == 200
        assert status_of(port, "/api/summary", "127.0.0.3") == 200
        streams[0].close()
        until_s = time.monotonic() + PATIENCE_S
        while status_of(port, "/api/summary", "127.0.0.2") != 200:
            assert time.monotonic() < until_s, "a closed connection still counts"


def test_health_is_answered_while_all_connections_are_in_use(start: Callable[..., int]) -> None:
    port = start(most=6, most_of_one=3)
    with ExitStack() as stack:
        for number in range(6):
            assert connect(stack, port, f"127.0.0.{2 + number}", STREAM).recv(12) == b"HTTP/1.1 200"
        assert [status_of(port, path) for path in ("/api/summary", "/healthz", "/readyz")] == [503, 200, 200]


def test_the_connections_of_a_trusted_proxy_are_those_of_many_clients(start: Callable[..., int]) -> None:
    port = start(most=50, most_of_one=2, is_proxied=True)
    signed_in = STREAM.replace(b"\r\n\r\n", f"\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    with ExitStack() as stack:
        for _ in range(10):
            assert connect(stack, port, sends=signed_in).recv(12) == b"HTTP/1.1 200"
        assert status_of(port, "/api/summary") == 401


@pytest.mark.parametrize(
    "begins",
    [
        b"",
        b"GET /api/summary HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 9\r\n\r\ntok",
        SUMMARY + b"GET /api/summary HTTP/1.1\r\nHost: loc",
    ],
    ids=["nothing", "header", "body", "second header"],
)
def test_a_request_that_is_not_complete_in_time_ends_its_connection(start: Callable[..., int], begins: bytes) -> None:
    port = start(request_s=0.3, keep_alive_s=0.3)
    with ExitStack() as stack:
        assert is_closed(connect(stack, port, sends=begins))


def test_a_header_that_comes_byte_by_byte_has_no_more_time(start: Callable[..., int]) -> None:
    port = start(request_s=0.5, keep_alive_s=0.5)
    with ExitStack() as stack:
        client = connect(stack, port)
        client.setblocking(False)
        until_s = time.monotonic() + PATIENCE_S
        with contextlib.suppress(ConnectionError):
            while client.send(b"G") and time.monotonic() < until_s:
                time.sleep(0.01)
        assert time.monotonic() < until_s


def test_a_stream_is_not_a_slow_request(start: Callable[..., int]) -> None:
    port = start(request_s=0.1, keep_alive_s=0.1)
    with ExitStack() as stack:
        stream = connect(stack, port, sends=STREAM)
        received = b""
        until_s = time.monotonic() + PATIENCE_S
        while received.count(b"event: heartbeat") < 2:  # the second comes 5 seconds after the first
            assert time.monotonic() < until_s
            received += stream.recv(65_536)


def test_clients_that_leave_in_the_middle_of_a_form_leave_no_traceback(
    start: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    port = start(most=500, most_of_one=500)
    form = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 99\r\n\r\ntok"
    with ExitStack() as stack:
        for client in [connect(stack, port, sends=form) for _ in range(100)]:
            client.close()
    assert status_of(port, "/healthz") == 200
    assert "Traceback" not in caplog.text
    assert "ClientDisconnect" not in caplog.text


def sign_in(port: int) -> str:
    """The cookie of a new session."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    client.request("POST", "/sign-in", f"token={TOKEN}", {"Sec-Fetch-Site": "same-origin", "Connection": "close"})
    answer = client.getresponse()
    client.close()
    return (answer.headers["Set-Cookie"] or "").partition(";")[0]


def test_signing_out_ends_the_event_streams_of_the_session_and_no_others(start: Callable[..., int]) -> None:
    port = start(is_proxied=True)
    leaving, staying = sign_in(port), sign_in(port)
    with ExitStack() as stack:
        streams = [
            connect(stack, port, sends=STREAM.replace(b"\r\n\r\n", f"\r\nCookie: {cookie}\r\n\r\n".encode()))
            for cookie in (leaving, leaving, staying)
        ]
        for stream in streams:
            assert stream.recv(12) == b"HTTP/1.1 200"
        sign_out = (
            f"POST /sign-out HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\nCookie: {leaving}\r\n\r\n"
        )
        assert connect(stack, port, sends=sign_out.encode()).recv(12) == b"HTTP/1.1 303"
        for stream in streams[:2]:
            assert read_to_end(stream).endswith(b"0\r\n\r\n"), "the stream must end as a whole answer"
        received = b""
        while b"heartbeat" not in received:
            received += streams[2].recv(65_536)
        assert b"0\r\n\r\n" not in received


def read_to_end(client: socket.socket) -> bytes:
    """What the server sends until its answer in chunks is complete."""
    received = b""
    while not received.endswith(b"\r\n0\r\n\r\n"):
        chunk = client.recv(65_536)
        assert chunk, "the connection is closed in the middle of the answer"
        received += chunk
    return received
