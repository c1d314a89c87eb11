"""Replays event files through the engine: `vitals score`, `vitals explain` and `vitals check --against`.

Owns reading files as if they were topics, and which moments a replay stops at. What the files contain is read by
`agents.files.inputs`. Events are applied in order of their time, as one partition (`agents.files.playback`).
`agents.backtest` uses the reading and has a replay of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from agents.files.formats import Input, Rows, expanded
from agents.files.inputs import Numbered, read_file
from agents.files.playback import BadLine, Playback, TimedEvent
from agents.process.progress import Progress, unseen
from schemas.codecs import decode, times_ms
from schemas.events import PROFILE_SOURCE, Event, ProfileEvent
from schemas.plausible_times import EARLIEST_MS, FUTURE_TOLERANCE_MS, refusal
from schemas.properties import NONE, Properties
from schemas.sources import BUILT_IN, Source, Sources
from stream.engine.engine import Engine, Mode
from stream.mapping.recognition import recognise
from stream.mapping.rules import InputMapping
from stream.plan.plan import Plan
from stream.publishing.effects import Effects, Message


class Reading(NamedTuple):
    """How files are read: the earliest and latest time (epoch ms) of an event, a mapping, and who sees the progress.

    `latest_ms` None: no event is too late.
    """

    earliest_ms: int = EARLIEST_MS
    latest_ms: int | None = None
    mapping: InputMapping | None = None
    progress: Progress = unseen


SINCE_2000 = Reading()


def reading_of(
    now_ms: int, as_of_ms: int | None, earliest_ms: int | None = None, mapping: InputMapping | None = None
) -> Reading:
    """Read times up to five minutes after the machine's clock (`now_ms`), or up to `as_of_ms` if that is later."""
    latest_ms = max(now_ms + FUTURE_TOLERANCE_MS, as_of_ms or 0)
    return Reading(EARLIEST_MS if earliest_ms is None else earliest_ms, latest_ms, mapping)


@dataclass(slots=True)
class Replay:
    """The result of a replay: the engine at its moment, what it published, and the unusable lines."""

    engine: Engine
    bad: list[BadLine] = field(default_factory=list)
    changes: list[Message[bytes]] = field(default_factory=list)
    alerts: list[Message[bytes]] = field(default_factory=list)
    scores: dict[bytes, Message[bytes]] = field(default_factory=dict)
    """The latest score record of each account that was published."""
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
    paths: Sequence[Input],
    plan: Plan,
    as_of_ms: int | None = None,
    watch: Watch | None = None,
    *,
    reading: Reading = SINCE_2000,
    mode: Mode = Mode.HEAD,
) -> Replay:
    """Replay events and profiles in order of time up to `as_of_ms` (None: the last event).

    Changes and alerts are collected in mode HEAD only. Raises OSError with the file's name when one cannot be read.
    """
    bad: list[BadLine] = []
    records = read_events(paths, bad, reading, plan.properties, plan.sources)
    times = [timed.time_ms for timed in records if timed.source != PROFILE_SOURCE]
    end_ms = as_of_ms if as_of_ms is not None else times[-1] if times else None
    replay = Replay(Engine(plan), bad, records=records)

    def collect(effects: Effects) -> None:
        _collect(replay, effects)

    playback = Playback(plan, records, collect, mode=mode, progress=reading.progress)
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
    paths: Sequence[Input],
    bad: list[BadLine],
    reading: Reading = SINCE_2000,
    properties: Properties = NONE,
    sources: Sources = BUILT_IN,
) -> list[TimedEvent]:
    """Every event of the files in order of time, ties in the order of `sources`, then of the lines.

    Lines that are not valid events, or whose time is not within the limits, are appended to `bad`. Raises OSError with
    the file's name when one cannot be read. `properties` are those that the policy names.
    """
    by_source: dict[str, list[TimedEvent]] = {source: [] for source in sources.names}
    for source, timed_events in _read(paths, bad, reading, properties, sources):
        by_source[source] += timed_events
    timed_events = [timed for source in sources.names for timed in by_source[source]]
    timed_events.sort(key=lambda timed: timed.time_ms)
    return timed_events


def _collect(replay: Replay, effects: Effects) -> None:
    if effects.erased:
        erased = {each.account for each in effects.erased}
        replay.changes[:] = [change for change in replay.changes if change.key not in erased]
        for key in erased:
            replay.scores.pop(key, None)
    replay.changes.extend(effects.changes)
    replay.alerts.extend(effects.alerts)
    replay.scores.update((message.key, message) for message in effects.scores)
    replay.outcomes.update(effects.outcomes)


def _read(
    paths: Sequence[Input], bad: list[BadLine], reading: Reading, properties: Properties, sources: Sources
) -> Iterable[tuple[str, list[TimedEvent]]]:
    inputs: list[Input] = [*expanded([file for file in paths if isinstance(file, Path)])]
    inputs += [file for file in paths if isinstance(file, Rows)]
    for file in inputs:
        path = Path(file.label) if isinstance(file, Rows) else file
        read = read_file(file, sources, reading.mapping, progress=reading.progress)
        bad += read.bad
        for source in sources.names:
            numbered = read.by_source.get(source, [])
            if not numbered:
                continue
            lines = [line for _, line in numbered]
            refused = decode(sources[source], lines, properties)
            decoded = recognise(sources[source], lines, refused, properties).decoded
            for index, reason, message, _ in decoded.rejects:
                bad.append(BadLine(str(path), numbered[index].number, reason, message))
            indexes = range(len(numbered)) if decoded.indexes is None else decoded.indexes.tolist()
            lines_of = [numbered[index].number for index in indexes]
            yield source, _within(reading, source, decoded.events, _Lines(str(path), lines_of, bad))
        if read.deletions:
            yield PROFILE_SOURCE, _deletions(path, read.deletions, bad, reading, sources.profiles)


def _deletions(
    path: Path, numbered: Sequence[Numbered], bad: list[BadLine], reading: Reading, source: Source
) -> list[TimedEvent]:
    """Profiles without a value, as a compacted topic has them."""
    decoded = decode(source, [line for _, line in numbered])
    for index, reason, message, _ in decoded.rejects:
        bad.append(BadLine(str(path), numbered[index].number, reason, message))
    profiles = [event for event in decoded.events if isinstance(event, ProfileEvent)]
    for profile in profiles:
        profile.deletes = True
    indexes = range(len(numbered)) if decoded.indexes is None else decoded.indexes.tolist()
    return _within(
        reading, PROFILE_SOURCE, profiles, _Lines(str(path), [numbered[index].number for index in indexes], bad)
    )


class _Lines(NamedTuple):
    """Where events are from: the file, the line of each event, and the list of bad lines."""

    file: str
    lines: Sequence[int]
    bad: list[BadLine]


def _within(reading: Reading, source: str, events: Sequence[Event], origin: _Lines) -> list[TimedEvent]:
    """The events of one source and file whose time is within the limits."""
    within: list[TimedEvent] = []
    earliest_ms, latest_ms = reading.earliest_ms, reading.latest_ms
    for index, (time_ms, event) in enumerate(zip(times_ms(events).tolist(), events, strict=True)):
        if time_ms >= earliest_ms and (latest_ms is None or time_ms <= latest_ms):
            within.append(TimedEvent(time_ms, source, event, origin.file, origin.lines[index]))
        elif (why := refusal(time_ms, earliest_ms, latest_ms)) is not None:
            reason, message = why
            origin.bad.append(BadLine(origin.file, origin.lines[index], reason, f"{source}: {message} - at `$.time`"))
    return within
