"""Connections that a broker refuses: pauses that grow, the cause, and the return."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from typing import Any

import aiokafka.client
import pytest
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed

from agents.worker.client import app
from agents.worker.client.reconnect import LONGEST_S, Reconnects, pause_after_refusals


class Broker:
    """Answers each connection with the next of some results, on a clock that sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *results: Exception | None) -> None:
        self.now_s = 0.0
        self.tried_s: list[float] = []
        self._results = list(results)
        self.reconnects = Reconnects(self._create, lambda: self.now_s)
        monkeypatch.setattr(asyncio, "sleep", self._sleep)

    async def _create(self, _host: str, _port: int, **_options: Any) -> str:
        self.tried_s.append(self.now_s)
        if (result := self._results.pop(0)) is not None:
            raise result
        return "connected"

    async def _sleep(self, delay_s: float) -> None:
        self.now_s += delay_s

    def connect(self, times: int, port: int = 9092) -> None:
        for _ in range(times):
            try:
                asyncio.run(self.reconnects.connect("kafka-1", port))
            except (OSError, SaslAuthenticationFailed, KafkaConnectionError):
                continue


def test_refused_connections_are_tried_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = SaslAuthenticationFailed("Authentication failed\nfor now")
    broker = Broker(monkeypatch, *[refused] * 8, None, None)
    broker.connect(8)
    pauses = [after - before for before, after in zip(broker.tried_s, broker.tried_s[1:], strict=False)]
    assert pauses == [0.5, 1, 2, 4, 8, LONGEST_S, LONGEST_S]
    problem = broker.reconnects.problem()
    assert problem is not None
    assert problem.startswith("the broker kafka-1:9092 refuses connections: SaslAuthenticationFailed")
    assert "\n" not in problem
    broker.connect(2)
    assert broker.reconnects.problem() is None
    assert broker.tried_s[-1] == broker.tried_s[-2]


@pytest.mark.parametrize("error", [KafkaConnectionError("no"), ConnectionRefusedError(), TimeoutError()])
def test_other_failures_are_tried_again_at_once(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    broker = Broker(monkeypatch, error, error, None)
    broker.connect(3)
    assert broker.tried_s == [0, 0, 0]
    assert broker.reconnects.problem() is None


def test_a_broker_does_not_wait_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(monkeypatch, ssl.SSLCertVerificationError("expired"), None)
    broker.connect(1)
    broker.connect(1, port=9093)
    assert broker.tried_s == [0, 0]
    assert broker.reconnects.problem() is not None


def test_the_clients_of_a_worker_connect_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiokafka.client, "create_conn", aiokafka.client.create_conn)
    pause_after_refusals()
    assert aiokafka.client.create_conn.__self__.__class__ is Reconnects
    assert "pause_after_refusals" in app.faust_app.__code__.co_names


def test_the_function_that_is_replaced_makes_the_connections_of_aiokafka() -> None:
    for caller in (aiokafka.client.AIOKafkaClient._get_conn, aiokafka.client.AIOKafkaClient.bootstrap):
        assert "await create_conn(" in inspect.getsource(caller)
