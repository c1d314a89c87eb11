"""A receiver that repeats everything it was sent, in many forms, and logs, dead letters and metrics without secrets."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote

import pytest
import structlog
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from agents.process.logs import configure_logging
from agents.settings.settings import Settings, load_settings
from agents.sinks.alertmanager import AlertmanagerSink
from agents.sinks.dead_letters import DeadLetterWriter
from agents.sinks.http_post import Poster, allow_all
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.webhook import WebhookSink
from schemas.codecs import encode
from schemas.outputs import Alert
from stream.consumers.notifications import Notification, OpenAlerts

# A smaller example says no more about a secret, and each takes a request.
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
FORMS = ("path", "decoded path", "headers", "decoded headers", "json", "base64")

# Not only lower-case letters: as a part of a path these would be a plain word.
TOKENS = st.text("abcXYZ0189_-~", min_size=8, max_size=40).filter(lambda text: not text.isalpha())
PASSWORDS = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=6, max_size=30
).filter(lambda text: len(set(text) - set("* ")) > 3 and text.strip() == text)
KEYS = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + b64encode(key).decode())


class Echo(BaseHTTPRequestHandler):
    """Answers with the request, in the forms that the test asks for."""

    forms: tuple[str, ...] = ()
    status = 500

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        headers = dict(self.headers.items())
        credentials = headers.get("Authorization", "").removeprefix("Basic ")
        shown = {
            "path": self.path,
            "decoded path": unquote(self.path),
            "headers": json.dumps(headers),
            "decoded headers": _decoded(credentials),
            "json": json.dumps({"url": self.path, "headers": headers}),
            "base64": b64encode(self.path.encode()).decode(),
        }
        body = " ".join(shown[form] for form in self.forms).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _decoded(credentials: str) -> str:
    return "" if not credentials else b64decode(credentials).decode()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("debug")
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    lines = io.StringIO()
    handler.setStream(lines)
    yield lines
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    load_settings()


class Letters:
    """A producer that keeps what is written."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, _topic: str, **record: Any) -> Any:
        self.sent.append(record)
        return SimpleNamespace(is_done=True, failed=lambda: False, get=lambda **_: None)


def _notification() -> tuple[Notification, Any]:
    alert = Alert("f1", "p1", "acme", "low", "info", "firing", 1_700_000_000_123, None, None, "s", {}, {})
    notification = OpenAlerts().apply(alert)
    assert notification is not None
    return notification, SimpleNamespace(
        partition=0, offset=1, key=b"acme", value=encode(alert), headers=[], timestamp=0
    )


def _webhook(loaded: Settings, letters: Letters) -> tuple[WebhookSink, SinkTelemetry]:
    assert loaded.webhook_url is not None
    url, telemetry = loaded.webhook_url.get_secret_value(), SinkTelemetry("webhook")
    poster = Poster(allow_all, 10)
    writer = DeadLetterWriter(letters, telemetry)
    options: dict[str, Any] = {"give_up_s": 0, "longest_pause_s": 1, "board_url": None}
    return WebhookSink(
        lambda body, head: poster.post(url, body, head), [b"k" * 24], writer, telemetry, **options
    ), telemetry


def _shown(log_lines: io.StringIO, letters: Letters, telemetry: SinkTelemetry) -> str:
    headers = [value.decode() for letter in letters.sent for _, value in letter["headers"]]
    return "\n".join([log_lines.getvalue(), *headers, generate_latest(telemetry.registry).decode()])


def _without(secrets: list[str], shown: str) -> None:
    encoded = [form for secret in secrets for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])]
    encoded += [b64encode(secret.encode()).decode().rstrip("=")[:-1] for secret in secrets]
    for form in encoded:
        assert form not in shown, f"{form!r} in {shown}"


@given(
    token=TOKENS,
    query=TOKENS,
    password=PASSWORDS,
    key=KEYS,
    forms=st.permutations(FORMS),
    status=st.sampled_from((500, 422, 410, 302)),
)
@settings(max_examples=60, deadline=None, phases=QUICK, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_of_a_secret_is_shown_when_a_webhook_repeats_it(
    port: int,
    log_lines: io.StringIO,
    *,
    token: str,
    query: str,
    password: str,
    key: str,
    forms: list[str],
    status: int,
) -> None:
    Echo.forms, Echo.status = tuple(forms), status
    log_lines.seek(0)
    log_lines.truncate()
    url = f"http://me:{quote(password, safe='')}@127.0.0.1:{port}/services/{token}?key={query}"
    letters = Letters()
    sink, telemetry = _webhook(load_settings(webhook_url=url, webhook_secret=key), letters)
    notification, record = _notification()
    sink.offer(notification, record)
    deadline_s = time.monotonic() + 30
    while not (letters.sent or "webhook_disabled" in log_lines.getvalue()):
        assert time.monotonic() < deadline_s
        sink.step()
    sink.step()
    sink.stop()
    shown = _shown(log_lines, letters, telemetry)
    assert f"status {status}" in shown
    _without([token, query, password, key, key[6:]], shown)


@given(password=PASSWORDS, token=TOKENS, forms=st.permutations(FORMS), status=st.sampled_from((500, 400, 302)))
@example(password="alertmanager_failed", token="00000000", forms=list(FORMS), status=500)
@settings(max_examples=30, deadline=None, phases=QUICK, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_of_a_secret_is_shown_when_an_alertmanager_repeats_it(
    port: int, log_lines: io.StringIO, *, password: str, token: str, forms: list[str], status: int
) -> None:
    Echo.forms, Echo.status = tuple(forms), status
    log_lines.seek(0)
    log_lines.truncate()
    url = f"http://me:{quote(password, safe='')}@127.0.0.1:{port}/{token}"
    load_settings(alertmanager_url=url)
    poster, telemetry = Poster(allow_all, 10), SinkTelemetry("alertmanager")
    sink = AlertmanagerSink(
        lambda body: poster.post(url, body, {}), telemetry, resend_s=60, longest_pause_s=1, board_url=None
    )
    sink.offer(*_notification())
    sink.step()
    # By level: Hypothesis draws names from the product's source too, and the event's name can be the secret.
    assert any(json.loads(line)["level"] in {"warning", "error"} for line in log_lines.getvalue().splitlines())
    _without([token, password], _shown(log_lines, Letters(), telemetry))


@given(secret=PASSWORDS, places=st.sets(st.sampled_from(("event", "field", "nested", "name", "exception", "foreign"))))
@settings(max_examples=60, deadline=None, phases=QUICK, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_of_a_secret_is_in_a_log_line(log_lines: io.StringIO, secret: str, places: set[str]) -> None:
    log_lines.seek(0)
    log_lines.truncate()
    load_settings(sasl_password=secret)
    text = f"before {secret} after"
    fields = {"field": text if "field" in places else "", "nested": [{text: (text,)}] if "nested" in places else []}
    error = ValueError(text) if "exception" in places else None
    structlog.get_logger().error(text if "event" in places else "event", **fields, exc_info=error)
    if "foreign" in places:
        logging.getLogger("kafka.net").error("connection failed: %s", text)
        logging.getLogger("kafka.net").error("configuration %s", {"sasl_plain_password": secret})
    shown = log_lines.getvalue()
    for line in shown.splitlines():
        json.loads(line.lstrip("\0"))
    _without([secret], shown)
