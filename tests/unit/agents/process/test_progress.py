"""A bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from agents.process.progress import progress_bar

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, after_s: float = 0.0) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(after_s) as progress:
        progress("records of a.jsonl", 5_000, None)
        progress("events applied", 40, 100)
        progress("events applied", 100, 100)
    return stream.getvalue()


def test_a_terminal_gets_what_is_done_and_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = shown(monkeypatch, Terminal())
    assert "events applied" in text
    assert "100/100" in text


def test_a_file_or_pipe_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == ""


def test_a_terminal_that_cannot_take_a_bar_away_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert shown(monkeypatch, Terminal()) == ""


def test_work_that_is_done_at_once_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Terminal(), after_s=3600.0) == ""
