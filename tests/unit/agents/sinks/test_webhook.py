"""The webhook: signatures of the specification, the meaning of answers, and refused addresses."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from agents.settings.address_guard import Allowed, Guard
from agents.settings.webhook_secret import parse_secret, signature, signed_headers
from agents.sinks.dead_letters import DeadLetterWriter
from agents.sinks.http_post import Poster, PostError, RefusedAddressError, Reply, allow_all, refusal_of
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.webhook import WebhookSink, outcome_of, request_body
from schemas.codecs import encode
from schemas.outputs import Alert
from stream.alerts.messages import fingerprint
from stream.consumers.notifications import OpenAlerts

# The example that the specification and its libraries share.
EXAMPLE_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EXAMPLE_ID, EXAMPLE_TIME, EXAMPLE_BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
EXAMPLE_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_signature_is_that_of_the_specification() -> None:
    assert signature(parse_secret(EXAMPLE_SECRET), EXAMPLE_ID, EXAMPLE_TIME, EXAMPLE_BODY) == EXAMPLE_SIGNATURE


def test_each_key_signs_while_keys_are_replaced() -> None:
    old, new = parse_secret(EXAMPLE_SECRET), b"n" * 32
    headers = signed_headers([new, old], EXAMPLE_ID, EXAMPLE_TIME, EXAMPLE_BODY)
    first, second = headers["webhook-signature"].split(" ")
    assert second == EXAMPLE_SIGNATURE != first
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (EXAMPLE_ID, str(EXAMPLE_TIME))


@pytest.mark.parametrize("text", ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!", "whsec_c2hvcnQ="])
def test_an_invalid_secret_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="whsec_") as caught:
        parse_secret(text)
    assert "c2hvcnQ" not in str(caught.value)
    assert "MfKQ" not in str(caught.value)


def test_the_body_holds_the_record_as_it_is_in_the_topic() -> None:
    alert = Alert("f1", "p1", "a/b", "low", "info", "firing", 1_700_000_000_123, None, None, "s", {}, {})
    notification = OpenAlerts().apply(alert)
    assert notification is not None
    value = encode(alert)
    body = json.loads(request_body(notification, value, "https://board.example/x/"))
    assert body == {
        "type": "alert.firing",
        "timestamp": "2023-11-14T22:13:20.123+00:00",
        "data": json.loads(value),
        "link": "https://board.example/x/accounts/a%2Fb",
    }


def test_an_alert_that_worsens_is_one_request() -> None:
    rules = {rule: fingerprint("acme", rule) for rule in ("band:h:poor", "band:h:bad")}
    poor, bad = (
        Alert(rule, mark, "acme", rule, "info", "firing", 1, 50.0, "poor", "s", {}, {}) for rule, mark in rules.items()
    )
    bad = replace(bad, id="b", starts_at=2, worsened_from=poor.rule)
    ended = replace(poor, id="r", status="resolved", ends_at=2, worsened_to=bad.rule)
    in_storm = replace(bad, digest="storm")
    assert sent_types(poor, bad, ended) == ["alert.firing", "alert.firing"]
    assert sent_types(poor, in_storm, ended) == ["alert.firing", "alert.resolved"]
    end = replace(bad, id="e", status="resolved", ends_at=3, worsened_from=None)
    assert sent_types(poor, bad, ended, end) == ["alert.firing", "alert.firing", "alert.resolved"]


def sent_types(*alerts: Alert) -> list[str]:
    """The types of the requests for records of one account, in order."""
    sent: list[str] = []

    def post(body: bytes, _headers: object) -> Reply:
        sent.append(json.loads(body)["type"])
        return Reply(200, None, "")

    telemetry, open_alerts = SinkTelemetry("webhook"), OpenAlerts()
    options: dict[str, Any] = {"give_up_s": 60, "longest_pause_s": 1, "board_url": None}
    sink = WebhookSink(post, [b"k"], DeadLetterWriter(cast("Any", None), telemetry), telemetry, **options)
    waiting = 0
    for offset, each in enumerate(alerts):
        notification = open_alerts.apply(each)
        if notification is not None:
            waiting += sink.offer(notification, SimpleNamespace(partition=0, offset=offset, value=encode(each)))
    deadline_s = time.monotonic() + 30
    while waiting:
        assert time.monotonic() < deadline_s
        waiting -= len(sink.step())
        threading.Event().wait(0.01)
    sink.stop()
    return sent


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((200, 201, 204, 299), "accepted"),
        ((500, 502, 503, 504, 599, 408, 425, 429), "retry"),
        ((301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 413, 415, 422, 451, 100), "rejected"),
        ((410,), "gone"),
    ],
)
def test_outcome_of_each_status(statuses: tuple[int, ...], expected: str) -> None:
    assert {outcome_of(Reply(status, None, "")).status for status in statuses} == {expected}


def test_outcome_has_the_retry_after() -> None:
    assert outcome_of(Reply(429, 17.0, "")).after_s == 17


# Addresses

REFUSED = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",  # noqa: S104 -- refused
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "3fff::1",
    "4000::1",
    "ff02::1",
    "ff0e::1",
    "100::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert Guard(allowed=False).refusal(address) is not None


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_not_refused(address: str) -> None:
    assert Guard(allowed=False).refusal(address) is None


@pytest.mark.parametrize(
    ("allowed", "address", "expected"),
    [
        (True, "127.0.0.1", True),
        (True, "10.0.0.1", True),
        (True, "::1", True),
        (True, "::ffff:192.168.0.1", True),
        (True, "fd00::1", True),
        (True, "169.254.169.254", False),
        (True, "168.63.129.16", False),
        (True, "100.100.100.200", False),
        (True, "fd00:ec2::254", False),
        (True, "fd20:ce::254", False),
        ((ip_network("fd00::/8"),), "fd20:ce::254", True),
        (True, "fe80::1", False),
        (True, "0.0.0.0", False),  # noqa: S104 -- refused
        (True, "::", False),
        (True, "224.0.0.1", False),
        (True, "ff02::1", False),
        ((ip_network("10.1.0.0/16"),), "10.1.2.3", True),
        ((ip_network("10.1.0.0/16"),), "::ffff:10.1.2.3", True),
        ((ip_network("10.1.0.0/16"),), "10.2.0.1", False),
        ((ip_network("10.1.0.0/16"),), "127.0.0.1", False),
        ((ip_network("fd00::/8"),), "fd00::1", True),
        ((ip_network("169.254.10.0/24"),), "169.254.10.1", True),
    ],
)
def test_addresses_that_settings_allow(allowed: Allowed, address: str, expected: bool) -> None:
    assert (Guard(allowed).refusal(address) is None) is expected


@contextmanager
def server(answer: bytes, pause_s: float = 0.0) -> Iterator[tuple[str, list[str]]]:
    """A server that sends `answer` (one byte after each pause, if any); gives its URL and the requested paths."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            step = 1 if pause_s else len(answer)
            try:
                for start in range(0, len(answer), step):
                    self.wfile.write(answer[start : start + step])
                    self.wfile.flush()
                    time.sleep(pause_s)
            except OSError:
                pass
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_address[1]}", paths
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


OK = b"HTTP/1.1 204 No Content\r\n\r\n"
LOOPBACK = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0", "[::ffff:127.0.0.1]"]


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_is_refused_in_every_notation(host: str) -> None:
    with server(OK) as (url, paths):
        target = url.replace("127.0.0.1", host) + "/x"
        guard = Guard(allowed=False).refusal
        assert refusal_of(target, guard) is not None
        with pytest.raises(RefusedAddressError):
            Poster(guard, 2).post(target, b"{}", {})
        assert paths == []


def test_the_connection_goes_to_the_checked_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that first resolves to a public address and then to loopback is refused."""
    asked: list[str] = []
    connected: list[str] = []

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(PostError):
        Poster(Guard(allowed=False).refusal, 2).post("http://rebinding.example/", b"{}", {})
    with pytest.raises(RefusedAddressError):
        Poster(Guard(allowed=False).refusal, 2).post("http://rebinding.example/", b"{}", {})
    assert (asked, connected) == (["rebinding.example"] * 2, ["93.184.216.34"])


def test_only_the_public_addresses_of_a_host_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[str] = []

    def resolve(_host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("10.0.0.1", "1.1.1.1", "::1")
        ]

    def connect(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises((PostError, RefusedAddressError)):
        Poster(Guard(allowed=False).refusal, 2).post("http://several.example/", b"{}", {})
    assert connected == ["1.1.1.1"]


def test_a_redirect_is_not_followed() -> None:
    with server(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n") as (url, paths):
        assert Poster(allow_all, 2).post(f"{url}/x", b"{}", {}).status == 302
        assert paths == ["/x"]


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with server(OK) as (url, _):
        assert Poster(allow_all, 2).post(url, b"{}", {}).status == 204


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 2_000, b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"y" * 2_000],
)
def test_a_slow_answer_ends_at_the_deadline(answer: bytes) -> None:
    with server(answer, pause_s=0.05) as (url, _), pytest.raises(PostError):
        Poster(allow_all, 0.4).post(url, b"{}", {})


def test_only_the_beginning_of_a_long_answer_is_read() -> None:
    with server(b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 5_000_000) as (url, _):
        reply = Poster(allow_all, 5).post(url, b"{}", {})
        assert (reply.status, len(reply.text)) == (200, 200)


@pytest.mark.parametrize("answer", [b"", b"no http at all\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_an_invalid_answer_can_be_retried(answer: bytes) -> None:
    with server(answer) as (url, _), pytest.raises(PostError):
        Poster(allow_all, 2).post(url, b"{}", {})


def test_an_unknown_host_can_be_retried() -> None:
    assert refusal_of("http://nowhere.invalid/", Guard(allowed=False).refusal) is None
    with pytest.raises(PostError, match=r"nowhere\.invalid"):
        Poster(Guard(allowed=False).refusal, 2).post("http://nowhere.invalid/", b"{}", {})


@pytest.mark.parametrize(
    ("value", "expected"),
    [("17", 17), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Fri, 01 Jan 2100 00:00:00 GMT", "years"), ("soon", None)],
)
def test_retry_after_in_seconds_and_as_a_date(value: str, expected: object) -> None:
    head = f"HTTP/1.1 503 Busy\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n"
    with server(head.encode()) as (url, _):
        retry_after_s = Poster(allow_all, 2).post(url, b"{}", {}).retry_after_s
    if expected == "years":
        assert retry_after_s is not None
        assert retry_after_s > 1e9
    else:
        assert retry_after_s == expected


def test_user_and_password_of_a_url_are_sent_as_a_header() -> None:
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.extend([self.headers["Authorization"], self.headers["Host"]])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.handle_request)
    thread.start()
    port = httpd.server_address[1]
    assert Poster(allow_all, 2).post(f"http://me:s%40y@127.0.0.1:{port}/", b"{}", {}).is_good
    thread.join()
    httpd.server_close()
    assert got == ["Basic bWU6c0B5", f"127.0.0.1:{port}"]
