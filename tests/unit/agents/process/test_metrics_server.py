"""A port in use: every command that listens names the setting and ends with 2 before it does anything else."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter
from typer.testing import CliRunner

from agents.cli.main import app
from agents.process.metrics_server import metrics_server, require_port

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


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
