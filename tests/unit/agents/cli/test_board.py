"""`vitals board` with event files: what it refuses."""

from __future__ import annotations

import pytest

from tests.unit.agents.cli.invoke import EVENTS, vitals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((EVENTS, "--from", EVENTS), "event files and --from exclude each other"),
        (("--as-of", "2026-03-27"), "--as-of, --allow-before and --mapping are for event files"),
        (("--mapping", "stripe"), "--as-of, --allow-before and --mapping are for event files"),
        (("no-such-file.jsonl",), "no-such-file.jsonl: No such file or directory"),
        ((EVENTS, "--as-of", "yesterday"), "--as-of"),
    ],
)
def test_a_mistake_ends_the_command_with_its_message(arguments: tuple, message: str) -> None:
    done = vitals("board", *arguments, "--port", "0")
    assert done.exit_code == 2
    assert message in done.stderr
