"""Event files for the commands `vitals score`, `explain` and `check --against`: replayed, with bad lines reported.

Owns how their problems are reported; the files are read by `agents.files`. Called by these commands.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agents.cli.base import (
    MISUSED,
    fail,
    moment,
    say,
)

if TYPE_CHECKING:
    from agents.files.replay import Limits, Replay, Watch
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


def limits(as_of_ms: int | None, allow_before: str | None) -> Limits:
    """The times that events may have, by the clock of this machine, `--as-of` and `--allow-before`."""
    from agents.files.replay import limits_of
    from schemas.plausible_times import EARLIEST_MS

    earliest_ms = moment(allow_before, "--allow-before", day_end=False)
    if earliest_ms is not None and not 0 <= earliest_ms <= EARLIEST_MS:
        fail(MISUSED, f"--allow-before {allow_before!r}: expected a date from 1970-01-01 to 2000-01-01")
    return limits_of(time.time_ns() // 1_000_000, as_of_ms, earliest_ms)


def replayed(
    files: list[Path], plan: Plan, as_of_ms: int | None, allowed: Limits, watch: Watch | None = None
) -> Replay:
    """The engine as of its moment; ends the command with 2 if a file cannot be read.

    Changes and alerts are collected only with a `watch`.
    """
    from agents.files.replay import replay_files
    from stream.engine.engine import Mode

    mode = Mode.CONFLATED if watch is None else Mode.HEAD
    with unreadable_files_reported():
        return replay_files(files, plan, as_of_ms, watch, limits=allowed, mode=mode)


def report_left_out(replay: Replay) -> bool:
    """Print on stderr what does not count: every line that cannot be used, by file and line, and later profiles.

    Returns whether there was an unusable line.
    """
    for line in replay.bad:
        say(f"{line.file}:{line.line}: {line.reason}: {line.message}", err=True)
    for reason, count in Counter(line.reason for line in replay.bad).items():
        say(f"left out: {count:,} {'line' if count == 1 else 'lines'} ({reason})", err=True)
    if replay.later_profiles:
        profiles = "profile is" if replay.later_profiles == 1 else "profiles are"
        hint = "a profile counts from its time on; give a later --as-of"
        say(f"left out: {replay.later_profiles:,} {profiles} later than the last event; {hint}", err=True)
    return bool(replay.bad)


def score_messages(engine: Engine) -> list[ScoreMessage]:
    """The score message of every account that has had an event, as of the engine's moment, sorted by account."""
    from schemas.outputs import ScoreMessage

    messages = [msgspec.json.decode(message.value, type=ScoreMessage) for message in engine.current().scores]
    for message in messages:
        # A worker's record has the account's last event or the last window boundary; here a moment was asked for.
        message.as_of = engine.time.current_ms()
    return sorted(messages, key=lambda message: message.account_id)


def selected_score(policy: Policy, name: str | None) -> SelectedScore:
    """The score that `--score` names, or the first; ends the command with 2 if the policy has none of this name."""
    from stream.explain.selector import UnknownScoreError, select_score

    try:
        return select_score(policy, name)
    except UnknownScoreError as error:
        fail(MISUSED, f"--score: {error}")
