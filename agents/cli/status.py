"""The command `vitals status`.

Owns its options and the screen that it prints; the work is in `agents.status`. Registered by `agents.cli.main`.
"""

# ruff: noqa: PLC0415 -- slow imports are made where they are needed, so that `vitals --help` is fast

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from agents.cli.base import (
    DONE,
    FAILED,
    AsJson,
    BrokerUrl,
    SettingsFile,
    errors_reported,
    say,
    say_json,
    settings_of,
    sources_of,
)

if TYPE_CHECKING:
    from agents.status.report import Report

_SECOND_MS, _MINUTE_S, _HOUR_S, _DAY_S = 1000, 60, 3600, 86_400


def status(
    settings: SettingsFile = None,
    broker: BrokerUrl = None,
    worker: Annotated[
        list[str] | None,
        typer.Option("--worker", help="Also ask this worker: http://HOST:PORT of its metrics."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show lag, freshness, workers, restores, idle sources and dead letters. Ends with 1 if there is a problem."""
    from agents.status.report import report

    loaded = settings_of(settings, broker=broker)
    sources = sources_of(loaded)
    with errors_reported():
        shown = report(loaded, sources, worker or [])
    if as_json:
        say_json(shown)
    else:
        say(_screen(shown))
    raise typer.Exit(FAILED if shown.problems else DONE)


def _screen(shown: Report) -> str:
    sections = [_group(shown), _inputs(shown), _outputs(shown), _workers(shown), _letters(shown)]
    problems = [f"problem: {problem}" for problem in shown.problems] or ["no problems"]
    return "\n\n".join("\n".join(lines) for lines in (*sections, problems) if lines)


def _group(shown: Report) -> list[str]:
    group = shown.group
    count = f"{len(group.members)} worker{'' if len(group.members) == 1 else 's'}"
    lines = [f"group {group.name}: {group.state.lower()}, {count}"]
    for member in group.members:
        numbers = sorted({number for assigned in member.tasks.values() for number in assigned})
        tasks = ", ".join(map(str, numbers)) or "none"
        lines.append(f"  {member.instance or member.client} at {member.host}: partitions {tasks}")
    return lines


def _inputs(shown: Report) -> list[str]:
    rows = [("input", "waiting", "newest record", "waiting by partition")]
    by_topic = defaultdict(list)
    for lag in shown.inputs:
        by_topic[lag.topic].append(lag)
    for topic, lags in by_topic.items():
        newest = max((lag.newest for lag in lags if lag.newest is not None), default=None)
        waiting = ", ".join(f"{lag.partition}: {lag.records}" for lag in lags if lag.records) or "-"
        rows.append((topic, str(sum(lag.records for lag in lags)), _age(newest, shown.now), waiting))
    return _table(rows)


def _outputs(shown: Report) -> list[str]:
    return _table(
        [("output", "newest record"), *((each.topic, _age(each.newest, shown.now)) for each in shown.outputs)]
    )


def _workers(shown: Report) -> list[str]:
    rows: list[tuple[str, ...]] = [("worker", "version", "policy", "accounts", "restore left", "idle sources")]
    for each in shown.workers:
        figures = ("-" if count is None else str(count) for count in (each.accounts, each.restore_left))
        idle = ", ".join(each.idle_sources) or "-"
        rows.append((each.url, each.version or "-", each.policy or "-", *figures, idle))
    lines = _table(rows) if shown.workers else []
    events = {topic: stamp for each in shown.workers for topic, stamp in each.watermarks.items()}
    for each in shown.workers:
        for topic, stamp in each.watermarks.items():
            events[topic] = max(events[topic], stamp)
    if events:
        ages = [(topic, _age(stamp, shown.now)) for topic, stamp in sorted(events.items())]
        lines += ["", *_table([("source", "newest event applied"), *ages])]
    return lines


def _letters(shown: Report) -> list[str]:
    if not shown.dead_letters:
        return ["no open dead letters"]
    letters = ((each.topic, each.reason, str(each.open), _age(each.last, shown.now)) for each in shown.dead_letters)
    return _table([("open dead letters", "reason", "number", "newest"), *letters])


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _age(time_ms: int | None, now_ms: int) -> str:
    """How long ago a time is."""
    if time_ms is None:
        return "none"
    seconds = (now_ms - time_ms) // _SECOND_MS
    if seconds < 0:
        return "in the future"
    for size, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
