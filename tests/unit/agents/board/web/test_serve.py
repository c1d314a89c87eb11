"""A board ends with an error if its reader, its checks or its ticks do: it never shows old data as live."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from kafka import TopicPartition
from typer.testing import CliRunner

from agents.board.state import reader
from agents.board.state.board import Board
from agents.board.state.freshness import BrokerChecks
from agents.board.state.reader import Reader
from agents.board.web import app
from agents.board.web import serve as web
from agents.board.web.serve import BoardError, serve_recording
from agents.cli.main import app as vitals
from agents.settings.settings import default_policy
from stream.plan.plan import compile_plan
from stream.policy.policy import parse_policy
from tests.driving.boards import board_of, settings

if TYPE_CHECKING:
    from pathlib import Path


class Consumer:
    """The consumer of a broker without topics; `polled` is the result of a poll, or the error that it raises."""

    def __init__(self, polled: dict[TopicPartition, list[Any]] | Exception) -> None:
        self.closed = threading.Event()
        self._polled = polled

    def topics(self) -> set[str]:
        return set()

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        del timeout_ms
        if isinstance(self._polled, Exception):
            raise self._polled
        return self._polled

    def close(self) -> None:
        self.closed.set()


@pytest.fixture(autouse=True)
def _without_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BrokerChecks, "ask", lambda _self, before, _now_ms: before)


def test_an_error_of_the_reading_thread_ends_the_reader() -> None:
    consumer = Consumer(ValueError("no such codec"))
    with pytest.raises(ValueError, match="no such codec"):
        asyncio.run(asyncio.wait_for(Reader(settings(), board_of()).run(consumer), 10))
    assert consumer.closed.wait(10)


def test_an_error_while_records_are_applied_ends_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(_self: Board, _records: object) -> None:
        msg = "a bug"
        raise KeyError(msg)

    monkeypatch.setattr(Board, "apply", apply)
    with pytest.raises(KeyError, match="a bug"):
        asyncio.run(asyncio.wait_for(Reader(settings(), Board()).run(Consumer({})), 10))


def test_an_error_of_the_checks_ends_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: object) -> None:
        msg = "no such answer"
        raise AssertionError(msg)

    monkeypatch.setattr(reader, "BrokerChecks", lambda *_: type("Checks", (), {"ask": ask})())
    with pytest.raises(AssertionError, match="no such answer"):
        asyncio.run(asyncio.wait_for(Reader(settings(), board_of()).run(Consumer({})), 10))


def test_an_error_of_the_ticks_ends_the_board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def tick(_self: Board) -> None:
        msg = "a bug"
        raise KeyError(msg)

    monkeypatch.setattr(app, "SUMMARY_TTL_S", 0)
    monkeypatch.setattr(Board, "tick", tick)
    path = tmp_path / "records.jsonl"
    path.touch()
    with pytest.raises(BoardError, match=r"KeyError: 'a bug'; start it again"):
        serve_recording(settings(board_port=0), None, path, follow=True)


def test_a_line_that_cannot_be_decoded_ends_the_command_with_1(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("nonsense\n", "utf-8")
    ended = CliRunner().invoke(vitals, ["board", "--from", str(path), "--follow", "--port", "0"])
    assert ended.exit_code == 1
    assert f"{path}, line 1" in ended.stderr


def test_controls_are_written_to_the_topic_that_the_policy_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    topics: list[str] = []
    text = default_policy().read_text("utf-8") + '\n[sources.controls]\ntopic = "crm.controls"\n'
    monkeypatch.setattr(web, "KafkaControls", lambda _settings, topic: topics.append(topic))
    monkeypatch.setattr(web, "KafkaInputs", lambda _settings: None)
    monkeypatch.setattr(web, "KafkaDeadLetters", lambda _settings, _sources: None)
    monkeypatch.setattr(Reader, "connect", lambda _self: None)
    monkeypatch.setattr(web, "_run", lambda _build, _settings: 0)
    for plan in (None, compile_plan(parse_policy(text))):
        assert web.serve(settings(), plan) == 0
    assert topics == ["controls", "crm.controls"]
