"""Replays JSON Lines event files through the engine: `vitals score`, `vitals explain` and `vitals check --against`.

Owns reading files as if they were topics, and which moments a replay stops at. Every line is an event; its source is
the line's `topic`, or the name of a file `<topic>.jsonl`. Events are applied in order of their time, as one partition
(`agents.files.playback`). `agents.backtest` uses the reading and has a replay of its own.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from agents.files.playback import BadLine, Playback, TimedEvent
from schemas.codecs import decode, times_ms
from schemas.events import PROFILE_SOURCE, SOURCES, Event
from schemas.foreign_forms import foreign_form
from schemas.plausible_times import EARLIEST_MS, FUTURE_TOLERANCE_MS, refusal
from schemas.properties import NONE, Properties
from stream.engine.engine import Engine, Mode
from stream.plan.plan import Plan
from stream.publishing.effects import Effects, Message


class _Tagged(msgspec.Struct):
    topic: str | None = None


_TAG = msgspec.json.Decoder(_Tagged)


class Limits(NamedTuple):
    """The earliest and the latest time (epoch ms) that a line may have; `latest_ms` None: no line is too late."""

    earliest_ms: int = EARLIEST_MS
    latest_ms: int | None = None


SINCE_2000 = Limits()


def limits_of(now_ms: int, as_of_ms: int | None, earliest_ms: int | None = None) -> Limits:
    """The limits by the clock of the machine (`now_ms`): five minutes after it, or `as_of_ms` if that is later."""
    latest_ms = max(now_ms + FUTURE_TOLERANCE_MS, as_of_ms or 0)
    return Limits(EARLIEST_MS if earliest_ms is None else earliest_ms, latest_ms)


@dataclass(slots=True)
class Replay:
    """The result of a replay: the engine at its moment, all changes and alerts, and the unusable lines."""

    engine: Engine
    bad: list[BadLine] = field(default_factory=list)
    changes: list[Message[bytes]] = field(default_factory=list)
    alerts: list[Message[bytes]] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    records: list[TimedEvent] = field(default_factory=list)
    """All events and profiles of the files, in order of time."""
    later_profiles: int = 0
    """Profiles that are later than the last event; counted only if that is the moment of the scores by default."""

    def changes_of(self, account: str) -> list[Message[bytes]]:
        """One account's changes, in order."""
        key = account.encode()
        return [message for message in self.changes if message.key == key]


@dataclass(frozen=True, slots=True)
class Watch:
    """Times at which to pause the replay, and what to do then.

    `moments` gets the time of the first event and of the end (epoch ms) and returns times in ascending order; those
    after the end are ignored. `look` gets each time and the engine, with all events, profiles and window boundaries up
    to it. Before the first event the engine is empty and has no `as_of`.
    """

    moments: Callable[[int, int], Iterable[int]]
    look: Callable[[int, Engine], None]


def replay_files(
    paths: Sequence[Path],
    plan: Plan,
    as_of_ms: int | None = None,
    watch: Watch | None = None,
    *,
    limits: Limits = SINCE_2000,
    mode: Mode = Mode.HEAD,
) -> Replay:
    """Replay events and profiles in order of time up to `as_of_ms` (None: the last event).

    Changes and alerts are collected in mode HEAD only. Raises OSError with the file's name when one cannot be read.
    """
    bad: list[BadLine] = []
    records = read_events(paths, bad, limits, plan.properties)
    times = [timed.time_ms for timed in records if timed.source != PROFILE_SOURCE]
    end_ms = as_of_ms if as_of_ms is not None else times[-1] if times else None
    replay = Replay(Engine(plan), bad, records=records)

    def collect(effects: Effects) -> None:
        _collect(replay, effects)

    playback = Playback(plan, records, collect, mode=mode)
    replay.engine = playback.engine
    if end_ms is None:
        return replay
    if as_of_ms is None:
        replay.later_profiles = sum(timed.time_ms > end_ms for timed in records)
    if watch is not None and times and times[0] <= end_ms:
        for moment in watch.moments(times[0], end_ms):
            if moment > end_ms:
                break
            playback.advance_to(moment)
            watch.look(moment, replay.engine)
    playback.advance_to(end_ms)
    replay.bad += playback.bad
    return replay


def read_events(
    paths: Sequence[Path], bad: list[BadLine], limits: Limits = SINCE_2000, properties: Properties = NONE
) -> list[TimedEvent]:
    """Every event of the files in order of time, ties in the order of `SOURCES`, then of the lines.

    Lines that are not valid events, or whose time is not within the limits, are appended to `bad`. Raises OSError with
    the file's name when one cannot be read. `properties` are those that the policy names.
    """
    by_source: dict[str, list[TimedEvent]] = {source: [] for source in SOURCES}
    for source, timed_events in _read(paths, bad, limits, properties):
        by_source[source] += timed_events
    timed_events = [timed for source in SOURCES for timed in by_source[source]]
    timed_events.sort(key=lambda timed: timed.time_ms)
    return timed_events


def _collect(replay: Replay, effects: Effects) -> None:
    if effects.erased:
        erased = {each.account for each in effects.erased}
        replay.changes[:] = [change for change in replay.changes if change.key not in erased]
    replay.changes.extend(effects.changes)
    replay.alerts.extend(effects.alerts)
    replay.outcomes.update(effects.outcomes)


def _read(
    paths: Sequence[Path], bad: list[BadLine], limits: Limits, properties: Properties
) -> Iterable[tuple[str, list[TimedEvent]]]:
    for path in paths:
        lines = path.read_bytes().removeprefix(BOM_UTF8).splitlines()
        if lines and lines[0].lstrip()[:1] == b"[":
            message = "the file is a JSON array: write one event a line, for example with jq -c '.[]'"
            bad.append(BadLine(str(path), 1, "malformed_json", message))
            continue
        for source, numbered in _by_source(path, lines, bad).items():
            decoded = decode(source, [line for _, line in numbered], properties)
            for index, reason, message, _ in decoded.rejects:
                bad.append(BadLine(str(path), numbered[index][0], reason, message))
            indexes = range(len(numbered)) if decoded.indexes is None else decoded.indexes.tolist()
            lines_of = [numbered[index][0] for index in indexes]
            yield source, _within(limits, source, decoded.events, _Lines(str(path), lines_of, bad))


class _Lines(NamedTuple):
    """Where events are from: the file, the line of each event, and the list of bad lines."""

    file: str
    lines: Sequence[int]
    bad: list[BadLine]


def _within(limits: Limits, source: str, events: Sequence[Event], origin: _Lines) -> list[TimedEvent]:
    """The events of one source and file whose time is within the limits."""
    within: list[TimedEvent] = []
    earliest_ms, latest_ms = limits
    for index, (time_ms, event) in enumerate(zip(times_ms(events).tolist(), events, strict=True)):
        if time_ms >= earliest_ms and (latest_ms is None or time_ms <= latest_ms):
            within.append(TimedEvent(time_ms, source, event, origin.file, origin.lines[index]))
        elif (why := refusal(time_ms, earliest_ms, latest_ms)) is not None:
            reason, message = why
            origin.bad.append(BadLine(origin.file, origin.lines[index], reason, f"{source}: {message} - at `$.time`"))
    return within


def _by_source(path: Path, lines: Sequence[bytes], bad: list[BadLine]) -> dict[str, list[tuple[int, bytes]]]:
    """The lines of a file with their numbers, by source; those without one are appended to `bad`."""
    if path.stem in SOURCES:
        return {path.stem: [(number, line) for number, line in enumerate(lines, 1) if line.strip()]}
    groups: dict[str, list[tuple[int, bytes]]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            source = _TAG.decode(line).topic
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            bad.append(BadLine(str(path), number, "malformed_json", foreign_form(line) or str(error)))
            continue
        if source in SOURCES:
            groups.setdefault(source, []).append((number, line))
            continue
        form, hint = foreign_form(line), "set `topic` in the line, or name the file <topic>.jsonl"
        message = f"topic {source!r} is not one of {', '.join(SOURCES)}; {hint}"
        reason = "unknown_topic" if form is None else "invalid_field"
        bad.append(BadLine(str(path), number, reason, form or message))
    return groups
