"""Event files for the commands `vitals score`, `explain` and `check --against`: replayed, with bad lines reported.

Owns how their problems are reported; the files are read by `agents.files`. Called by these commands.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agents.cli.base import (
    MISUSED,
    fail,
    mapping_of,
    moment,
    say,
)
from agents.process.progress import progress_bar

if TYPE_CHECKING:
    from agents.files.playback import BadLine
    from agents.files.replay import Reading, Replay, Watch
    from agents.settings.settings import Settings
    from schemas.sources import Sources
    from stream.explain.selector import SelectedScore
    from stream.plan.plan import Plan
    from stream.policy.policy import Policy

MOST_PRINTED = 20
"""Bad lines of one file and reason that are printed; of more, the number is."""


@contextmanager
def unreadable_files_reported() -> Iterator[None]:
    """End the command with 2 and the file's name for an OSError."""
    try:
        yield
    except OSError as error:
        fail(MISUSED, f"{error.filename}: {error.strerror}")


def reading_options(
    settings: Settings, sources: Sources, as_of_ms: int | None, allow_before: str | None, mapping: list[str] | None
) -> Reading:
    """How files are read, by the clock of this machine, `--as-of`, `--allow-before` and `--mapping`.

    Without `--allow-before`, the setting of this name counts.
    """
    from agents.files.replay import reading_of
    from schemas.plausible_times import EARLIEST_MS

    earliest_ms = moment(allow_before, "--allow-before", day_end=False)
    if earliest_ms is not None and not 0 <= earliest_ms <= EARLIEST_MS:
        fail(MISUSED, f"--allow-before {allow_before!r}: expected a date from 1970-01-01 to 2000-01-01")
    if earliest_ms is None:
        earliest_ms = settings.earliest_ms
    return reading_of(time.time_ns() // 1_000_000, as_of_ms, earliest_ms, mapping_of(mapping, sources))


def replayed(files: list[Path], plan: Plan, as_of_ms: int | None, how: Reading, watch: Watch | None = None) -> Replay:
    """The engine as of its moment; ends the command with 2 if a file cannot be read.

    Changes and alerts are collected only with a `watch`.
    """
    from agents.files.replay import replay_files
    from stream.engine.engine import Mode

    mode = Mode.CONFLATED if watch is None else Mode.HEAD
    with unreadable_files_reported(), progress_bar() as progress:
        return replay_files(files, plan, as_of_ms, watch, reading=how._replace(progress=progress), mode=mode)


def published(files: list[Path], plan: Plan, as_of_ms: int | None, how: Reading) -> Replay:
    """What a worker would have published for files; ends the command with 2 if a file cannot be read."""
    from agents.files.replay import replay_files
    from stream.engine.engine import Mode

    with unreadable_files_reported(), progress_bar() as progress:
        return replay_files(files, plan, as_of_ms, reading=how._replace(progress=progress), mode=Mode.HEAD)


def report_left_out(replay: Replay) -> bool:
    """Print on stderr what does not count: every line that cannot be used, by file and line, and later profiles.

    Returns whether there was an unusable line.
    """
    report_bad_lines(replay.bad)
    if replay.later_profiles:
        profiles = "profile is" if replay.later_profiles == 1 else "profiles are"
        hint = "a profile counts from its time on; give a later --as-of"
        say(f"left out: {replay.later_profiles:,} {profiles} later than the last event; {hint}", err=True)
    return bool(replay.bad)


def report_bad_lines(bad: Sequence[BadLine]) -> None:
    """Print lines that cannot be used on stderr, and how many there are: of one file and reason, 20 at most."""
    printed: Counter[tuple[str, str]] = Counter()
    for line in bad:
        printed[line.file, line.reason] += 1
        if printed[line.file, line.reason] <= MOST_PRINTED:
            say(f"{line.file}:{line.line}: {line.reason}: {line.message}", err=True)
    for (file, reason), count in printed.items():
        if count > MOST_PRINTED:
            say(f"{file}: {count - MOST_PRINTED:,} more lines like this ({reason})", err=True)
    for reason, count in Counter(line.reason for line in bad).items():
        say(f"left out: {count:,} {'line' if count == 1 else 'lines'} ({reason})", err=True)


def selected_score(policy: Policy, name: str | None) -> SelectedScore:
    """The score that `--score` names, or the first; ends the command with 2 if the policy has none of this name."""
    from stream.explain.selector import UnknownScoreError, select_score

    try:
        return select_score(policy, name)
    except UnknownScoreError as error:
        fail(MISUSED, f"--score: {error}")
