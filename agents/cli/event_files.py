"""Event files for the commands `vitals score`, `explain` and `check --against`: replayed, with bad lines reported.

Owns how their problems are reported; the files are read by `agents.files`. Called by these commands.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agents.cli.base import (
    MISUSED,
    fail,
    say,
)

if TYPE_CHECKING:
    from agents.files.replay import Replay, Watch
    from schemas.outputs import ScoreMessage
    from stream.engine.engine import Engine
    from stream.explain.selector import SelectedScore
    from stream.plan.plan import Plan
    from stream.policy.policy import Policy


@contextmanager
def unreadable_files_reported() -> Iterator[None]:
    """End the command with 2 and the file's name for an OSError."""
    try:
        yield
    except OSError as error:
        fail(MISUSED, f"{error.filename}: {error.strerror}")


def replayed(files: list[Path], plan: Plan, as_of_ms: int | None, watch: Watch | None = None) -> Replay:
    """The engine after the events of the files; ends the command with 2 if a file cannot be read."""
    from agents.files.replay import replay_files

    with unreadable_files_reported():
        return replay_files(files, plan, as_of_ms, watch)


def report_bad_lines(replay: Replay) -> bool:
    """Print every line that could not be used on stderr; whether there was any."""
    for line in replay.bad:
        say(f"{line.file}:{line.line}: {line.reason}: {line.message}", err=True)
    return bool(replay.bad)


def score_messages(engine: Engine) -> list[ScoreMessage]:
    """The current score message of every account, sorted by account."""
    from schemas.outputs import ScoreMessage

    messages = [msgspec.json.decode(message.value, type=ScoreMessage) for message in engine.current().scores]
    return sorted(messages, key=lambda message: message.account_id)


def selected_score(policy: Policy, name: str | None) -> SelectedScore:
    """The score that `--score` names, or the first; ends the command with 2 if the policy has none of this name."""
    from stream.explain.selector import UnknownScoreError, select_score

    try:
        return select_score(policy, name)
    except UnknownScoreError as error:
        fail(MISUSED, f"--score: {error}")
