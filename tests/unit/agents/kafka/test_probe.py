"""The causes of a connection that fails before anyone is asked for a password; real brokers are in tests/broker."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from agents.kafka import probe
from agents.kafka.client import BrokerError, FinalBrokerError, consumer_of
from agents.kafka.probe import ConnectionFailedError, check_connection
from agents.settings.settings import load_settings

API_VERSIONS = struct.pack(">iihihhh", 16, 1, 0, 1, 18, 0, 3)
"""An answer to the first request: one API, no error."""


class Server:
    """Serves each connection with a function, in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._serve, self._context = serve, context
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._serve(connection)
        connection.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


def kafka(connection: socket.socket) -> None:
    """Answer the first request as Kafka does, close on anything that is not a request."""
    head = connection.recv(4)
    if len(head) == 4 and struct.unpack(">i", head)[0] < 1_000:
        connection.recv(1_000)
        connection.sendall(API_VERSIONS)
        connection.recv(1_000)


def silent(connection: socket.socket) -> None:
    while connection.recv(1_000):
        pass


def web(connection: socket.socket) -> None:
    connection.recv(1_000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connection.recv(1_000)


def closing(_connection: socket.socket) -> None:
    pass


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def started(*arguments: Any) -> Server:
        servers.append(Server(*arguments))
        return servers[-1]

    yield started
    for server in servers:
        server.close()


def server_context(authority: trustme.CA, *names: str, client: bool = False, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **options).configure_cert(context)
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


def cause_of(port: int | str, protocol: str = "PLAINTEXT", **settings: Any) -> ConnectionFailedError:
    broker = f"kafka://127.0.0.1:{port}" if isinstance(port, int) else f"kafka://{port}"
    started_s = time.monotonic()
    with pytest.raises(ConnectionFailedError) as caught:
        check_connection(load_settings(broker=broker, security_protocol=protocol, **settings))
    assert time.monotonic() - started_s < 30
    assert "\n" not in str(caught.value)
    return caught.value


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_a_closed_port_is_named() -> None:
    port = closed_port()
    problem = cause_of(port)
    assert str(problem).startswith(f"127.0.0.1:{port}: nothing listens on this port")
    assert not problem.is_final


def test_a_name_that_does_not_exist_is_named() -> None:
    assert "no-such-host.invalid:9092: the name cannot be resolved" in str(cause_of("no-such-host.invalid:9092"))


def test_a_port_that_does_not_answer_is_named(start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "WITHIN_S", 1.0)
    problem = cause_of(start(silent).port)
    assert "accepts connections and does not answer within 1 s" in str(problem)
    assert not problem.is_final


def test_every_broker_is_tried_and_the_first_that_works_is_enough(start: Callable[..., Server]) -> None:
    closed, working = closed_port(), start(closing).port
    text = str(cause_of(f"127.0.0.1:{closed};127.0.0.1:{working}"))
    assert f"127.0.0.1:{closed}: nothing listens" in text
    assert f"127.0.0.1:{working}: the connection was closed" in text


def test_a_server_of_another_protocol_is_named(start: Callable[..., Server]) -> None:
    assert "this is not a Kafka broker" in str(cause_of(start(web).port))


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_a_tls_port_is_named_to_a_client_without_tls(
    start: Callable[..., Server], authority: trustme.CA, protocol: str
) -> None:
    port = start(kafka, server_context(authority, "127.0.0.1")).port
    problem = cause_of(port, protocol, sasl_username="me", sasl_password="s3cr3t-7")
    assert "the port has TLS: set security_protocol to SSL or SASL_SSL" in str(problem)
    assert problem.is_final


@pytest.mark.parametrize("serve", [kafka, web])
def test_a_port_without_tls_is_named_to_a_client_with_tls(
    start: Callable[..., Server], serve: Callable[[socket.socket], None]
) -> None:
    problem = cause_of(start(serve).port, "SSL")
    assert "the port has no TLS" in str(problem)
    assert problem.is_final


@pytest.mark.parametrize(
    ("names", "options", "expected"),
    [
        (("127.0.0.1",), {}, "is not signed by a CA of tls_ca"),
        (("kafka.example",), {"trusted": True}, "is for other names"),
        (("127.0.0.1",), {"trusted": True, "expired": True}, "is out of date"),
    ],
)
def test_a_certificate_that_is_refused_is_named(
    start: Callable[..., Server],
    authority: trustme.CA,
    tmp_path: Path,
    *,
    names: tuple[str, ...],
    options: dict[str, bool],
    expected: str,
) -> None:
    expired: dict[str, Any] = {"not_after": datetime(2020, 1, 1, tzinfo=UTC)} if options.get("expired") else {}
    port = start(kafka, server_context(authority, *names, **expired)).port
    (authority if options.get("trusted") else trustme.CA()).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    problem = cause_of(port, "SSL", tls_ca=tmp_path / "ca.pem")
    assert expected in str(problem)
    assert problem.is_final


def test_a_client_certificate_that_is_missing_is_named(
    start: Callable[..., Server], authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    port = start(kafka, server_context(authority, "127.0.0.1", client=True)).port
    assert "wants a client certificate" in str(cause_of(port, "SSL", tls_ca=tmp_path / "ca.pem"))


def test_a_client_gets_the_cause_and_whether_a_retry_can_help(start: Callable[..., Server]) -> None:
    with pytest.raises(BrokerError, match=r"no Kafka broker \(PLAINTEXT\): .* nothing listens") as caught:
        consumer_of(load_settings(broker=f"kafka://127.0.0.1:{closed_port()}"))
    assert not isinstance(caught.value, FinalBrokerError)
    with pytest.raises(FinalBrokerError, match=r"no Kafka broker \(SSL\): .* the port has no TLS"):
        consumer_of(load_settings(broker=f"kafka://127.0.0.1:{start(kafka).port}", security_protocol="SSL"))
