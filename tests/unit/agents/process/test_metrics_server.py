"""A port in use: every command that listens names the setting and ends with 2 before it does anything else."""

from __future__ import annotations

import http.client
import socket
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter
from typer.testing import CliRunner

from agents.cli.main import app
from agents.process import metrics_server as metrics_server_module
from agents.process.metrics_server import metrics_server, require_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        (["worker"], "web_port"),
        (["board"], "board_port"),
        (["rollup"], "rollup_port"),
        (["sink", "redis"], "redis_metrics_port"),
        (["sink", "alertmanager"], "alertmanager_port"),
        (["sink", "notify"], "notify_port"),
    ],
)
def test_a_port_in_use_is_bad_usage(
    monkeypatch: pytest.MonkeyPatch, taken: int, command: list[str], setting: str
) -> None:
    monkeypatch.setenv(f"VITALS_{setting.upper()}", str(taken))
    monkeypatch.setenv("VITALS_ALERTMANAGER_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("VITALS_NOTIFY_URLS", "json://127.0.0.1:9")
    monkeypatch.setenv("VITALS_NOTIFY_ALLOW_PRIVATE", "true")
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 2, ended.stderr
    assert f"{setting}: cannot listen on 127.0.0.1:{taken}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_port_is_free_after_the_server_has_stopped() -> None:
    registry = CollectorRegistry()
    Counter("cups", "Cups of tea.", registry=registry).inc(3)
    with (
        metrics_server(registry, "127.0.0.1", 0, "a_port") as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
    ):
        assert b"cups_total 3.0" in answer.read()
    require_port("127.0.0.1", port, "a_port")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connection_without_a_request_ends_and_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(metrics_server_module._Handler, "timeout", 0.5)
    with metrics_server(CollectorRegistry(), host, 0, "a_port", {"/readyz": lambda: ["not yet"]}) as port:
        idle = [socket.create_connection((host, port), timeout=30) for _ in range(50)]
        client = http.client.HTTPConnection(host, port, timeout=30)
        client.request("GET", "/readyz")
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (503, b'{"ok": false, "problems": ["not yet"]}')
        client.close()
        for connection in idle:
            assert connection.recv(1) == b""
            connection.close()
