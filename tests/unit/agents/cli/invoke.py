"""Runs `vitals` in the process of the test, over the event files of the examples.

Owns how a command is run and what its output is taken for. Must not know what a test expects.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from agents.cli.main import app

ROOT = Path(__file__).parents[4]
EVENTS = ROOT / "deploy" / "examples" / "events.jsonl"
"""Four accounts."""
ACME_EVENTS = ROOT / "tests" / "golden" / "data" / "template.jsonl"
"""One account, acme."""
TEMPLATE = ROOT / "deploy" / "policies" / "template.toml"
AS_OF = "2026-03-27"


def vitals(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def lines(*arguments: object) -> list[dict[str, Any]]:
    done = vitals(*arguments)
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def score_at(account: str, moment: object) -> tuple[float, str]:
    (message,) = lines("score", EVENTS, "--as-of", moment, "--account", account)
    health = message["scores"]["health"]
    return health["value"], health["band"]
