"""Processes of the demo: what they inherit."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.demo import broker as embedded
from agents.demo.broker import EmbeddedBroker
from agents.demo.processes import Child


def test_the_embedded_broker_inherits_no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[dict[str, str]] = []
    log = tmp_path / "environment"

    def child(_command: object, _log: Path, env: dict[str, str]) -> SimpleNamespace:
        started.append(env)
        return SimpleNamespace(exit_code=None, stop=lambda *_, **__: None)

    monkeypatch.setattr(embedded, "_program", lambda: sys.executable)
    monkeypatch.setattr(embedded, "_answers", lambda _port: True)
    monkeypatch.setattr(embedded, "Child", child)
    monkeypatch.setenv("VITALS_SASL_PASSWORD", "s3cr3t-7")
    with EmbeddedBroker():
        pass
    (environment,) = started
    assert "PATH" in environment
    shown = Child([sys.executable, "-c", "import os; print(dict(os.environ))"], log, environment)
    while shown.exit_code is None:
        pass
    assert "s3cr3t-7" not in log.read_text(encoding="utf-8")
    assert not [name for name in environment if name.startswith("VITALS_")]
