"""A receiver of notifications: which services and addresses are allowed, no redirects, and failures without secrets."""

from __future__ import annotations

import io
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import apprise
import pytest

from agents.settings.address_guard import Guard, parse_networks
from agents.settings.settings import load_settings
from agents.sinks.connection_guard import RefusedConnectionError, connections_guarded
from agents.sinks.http_post import allow_all
from agents.sinks.notification_text import NotificationText
from agents.sinks.receiver import SERVICES, Receiver

TEXT = NotificationText("title", "plain", "markdown")
INFO = apprise.NotifyType.INFO


class Server:
    """A web server that answers every request with one status, and the location of a redirect."""

    def __init__(self, status: int, location: str = "") -> None:
        requests: list[str] = []
        self.requests = requests

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                requests.append(f"{self.command} {self.path}")
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def other() -> Iterator[Server]:
    server = Server(200)
    yield server
    server.stop()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "url", ["json://127.0.0.1:{}/x", "json://127.0.0.1:{}/x?redirect=yes", "ntfy://127.0.0.1:{}/x"]
)
def test_a_redirect_is_not_followed_and_is_a_failure(other: Server, url: str, status: int) -> None:
    first = Server(status, f"http://127.0.0.1:{other.port}/internal")
    try:
        why = Receiver(1, url.format(first.port), allow_all).send(TEXT, INFO)
    finally:
        first.stop()
    assert why is not None
    assert [request.split()[0] for request in first.requests] == ["POST"]
    assert other.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "json://localhost:{}/",
        "json://127.0.0.1:{}/",
        "json://[::1]:{}/",
        "json://0.0.0.0:{}/",
        "mailto://me:hunter2secret@10.1.2.3:{}",
    ],
)
def test_an_address_that_is_not_public_is_refused_at_the_start(other: Server, url: str) -> None:
    with pytest.raises(ValueError, match="notify_allow_private") as caught:
        Receiver(1, url.format(other.port), Guard(allowed=False).refusal)
    assert "hunter2secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "json://receiver.example:{}/",
        "ntfy://receiver.example:{}/x",
        "mailto://me:hunter2secret@receiver.example:{}?mode=insecure",
    ],
)
def test_a_name_of_an_internal_address_is_refused_before_the_first_packet(
    monkeypatch: pytest.MonkeyPatch, other: Server, url: str
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *more, **options: resolve("127.0.0.1", *more, **options))
    why = Receiver(1, url.format(other.port), Guard(allowed=False).refusal).send(TEXT, INFO)
    assert why == "127.0.0.1 is not a public address; to send to it nevertheless, set notify_allow_private"
    assert other.requests == []


def test_an_internal_address_that_the_settings_allow_is_reached(other: Server) -> None:
    guard = Guard(parse_networks(["127.0.0.0/8"]))
    assert Receiver(1, f"json://127.0.0.1:{other.port}/", guard.refusal).send(TEXT, INFO) is None
    assert len(other.requests) == 1


def test_other_connections_of_the_process_are_not_guarded(other: Server) -> None:
    address = ("127.0.0.1", other.port)
    with connections_guarded(Guard(allowed=False).refusal) as reasons:
        with pytest.raises(RefusedConnectionError):
            socket.create_connection(address)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, pytest.raises(RefusedConnectionError):
            datagrams.sendto(b"x", address)
        with socket.socket(socket.AF_UNIX) as local, pytest.raises(RefusedConnectionError):
            local.connect("/run/service.sock")
        reached: list[socket.socket] = []
        thread = threading.Thread(target=lambda: reached.append(socket.create_connection(address)))
        thread.start()
        thread.join()
    for connection in (*reached, socket.create_connection(address)):
        connection.close()
    assert len(reached) == 1
    assert len(reasons) == 3


def test_every_allowed_service_exists_in_apprise() -> None:
    known = {scheme for service in apprise.Apprise().details()["schemas"] for scheme in _schemes(service)}
    assert set(SERVICES) <= known


def _schemes(service: dict[str, Any]) -> set[str]:
    return {*(service["protocols"] or ()), *(service["secure_protocols"] or ())}


@pytest.mark.parametrize("scheme", ["syslog", "dbus", "windows", "macosx", "gnome", "smpp", "irc", "mqtt", "file"])
def test_other_services_are_refused(scheme: str) -> None:
    with pytest.raises(ValueError, match=rf"number 1 \({scheme}\) is not an allowed service"):
        Receiver(1, f"{scheme}://hunter2secret/", allow_all)


def test_the_reason_of_a_failure_is_reported_without_secrets() -> None:
    logged = io.StringIO()
    handler = logging.StreamHandler(logged)
    logging.getLogger().addHandler(handler)
    server = Server(500)
    url = f"json://robot:hunter2secret@127.0.0.1:{server.port}/fail/tok3nt0ken"
    load_settings(notify_urls=[url])
    why = Receiver(1, url, allow_all).send(TEXT, INFO)
    server.stop()
    logging.getLogger().removeHandler(handler)
    assert why is not None
    assert "500" in why
    for secret in ("hunter2secret", "tok3nt0ken"):
        assert secret not in why
        assert secret not in logged.getvalue()


def test_the_error_for_an_unknown_url_has_its_number_and_scheme_only() -> None:
    with pytest.raises(ValueError, match=r"number 3 \(nosuch\)") as caught:
        Receiver(3, "nosuch://hunter2secret/", allow_all)
    assert "hunter2secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["hunter2secret", "hunter2secret:x", "me:hunter2secret@host://x", "hunter2secret/x://"])
def test_the_error_for_a_text_that_is_not_a_url_does_not_quote_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"number 2 \(not a URL\)") as caught:
        Receiver(2, url, allow_all)
    assert "hunter2secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "decoded"),
    [
        ("p%40ss%3Aword%21", "p@ss:word!"),
        ("hunter%32secret", "hunter2secret"),
        ("two+wo%20rds", "two wo rds"),
        ("caf%C3%A9secret", "cafésecret"),
        ("a%2Fb%2Fcdef", "a/b/cdef"),
    ],
)
def test_secrets_are_removed_as_written_and_as_decoded(
    monkeypatch: pytest.MonkeyPatch, written: str, decoded: str
) -> None:
    url = f"json://robot:{written}@127.0.0.1:9/x?token={written}"
    load_settings(notify_urls=[url])
    receiver = Receiver(1, url, allow_all)

    class Failed:
        def __bool__(self) -> bool:
            return False

        def logs(self) -> list[logging.LogRecord]:
            record = logging.makeLogRecord({})
            record.message = f"no login with {decoded} ({written})"
            return [record]

    monkeypatch.setattr(receiver._apprise, "notify", lambda **_: Failed())
    assert receiver.send(TEXT, INFO) == "no login with *** (***)"
