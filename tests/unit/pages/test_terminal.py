"""The terminal of the tutorial's test: what commands print, how they end, and one that should go on and does not."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.pages.terminal import Terminal, TerminalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(tmp_path, os.environ, patience_s=60) as terminal:
        yield terminal


def test_a_command_gives_its_output_and_its_status(terminal: Terminal) -> None:
    assert terminal.run("echo one; false") == ("one\n", 1)


def test_a_command_that_goes_on_is_interrupted(terminal: Terminal) -> None:
    terminal.start("sh -c 'echo up; exec sleep 100'", re.compile("up"))
    output, status = terminal.interrupt()
    assert (output.split(), status) == (["up"], 130)
    assert terminal.run("echo again") == ("again\n", 0)


def test_a_command_that_should_go_on_and_ends_is_an_error_at_once(terminal: Terminal) -> None:
    with pytest.raises(TerminalError, match=r"(?s)ended; the terminal shows:\ngone\n.*status 3"):
        terminal.start("sh -c 'echo gone; exit 3'", re.compile("up"))
