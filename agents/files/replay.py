"""Replays event files through the engine: `vitals score`, `vitals explain` and `vitals check --against`.

Owns reading files as if they were topics, and which moments a replay stops at. What the files contain is read by
`agents.files.inputs`. Events are applied in order of their time, as one partition (`agents.files.playback`).
`agents.backtest` uses the reading and has a replay of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agents.files.formats import Input, Rows, expanded
from agents.files.inputs import FileEvents, Numbered, SourceLines, source_lines
from agents.files.playback import BadLine, Playback
from agents.files.timeline import Run, Timeline
from agents.process.progress import Progress, unseen
from schemas.codecs import Decoded, decode, times_ms
from schemas.events import PROFILE_SOURCE, ProfileEvent
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
    records: Timeline = field(default_factory=partial(Timeline.of, ()))
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
    times = records.times[~records.of_source(PROFILE_SOURCE)]
    end_ms = as_of_ms if as_of_ms is not None else int(times[-1]) if len(times) else None
    replay = Replay(Engine(plan), bad, records=records)

    def collect(effects: Effects) -> None:
        _collect(replay, effects)

    playback = Playback(plan, records, collect, mode=mode, progress=reading.progress)
    replay.engine = playback.engine
    if end_ms is None:
        return replay
    if as_of_ms is None:
        replay.later_profiles = len(records) - records.count_until(end_ms)
    if watch is not None and len(times) and times[0] <= end_ms:
        for moment in watch.moments(int(times[0]), end_ms):
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
) -> Timeline:
    """Every event of the files in order of time, ties in the order of `sources`, then of the lines.

    Lines that are not valid events, or whose time is not within the limits, are appended to `bad`. Raises OSError with
    the file's name when one cannot be read. `properties` are those that the policy names.
    """
    return Timeline.merged(list(_read(paths, bad, reading, properties, sources)), sources.names)


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
) -> Iterator[Run]:
    inputs: list[Input] = [*expanded([file for file in paths if isinstance(file, Path)])]
    inputs += [file for file in paths if isinstance(file, Rows)]
    for file in inputs:
        path = str(Path(file.label)) if isinstance(file, Rows) else str(file)
        read, refused = FileEvents(), {source: _Refused([], []) for source in sources.names}
        for lines in source_lines(file, sources, reading.mapping, read, reading.progress):
            source, without = sources[lines.source], refused[lines.source]
            decoded = decode(source, lines.values, properties)
            decoded = recognise(source, lines.values, decoded, properties).decoded
            yield _run(path, lines, decoded, reading, without)
        bad += read.bad
        for without in refused.values():
            bad += [*without.lines, *without.times]
        if read.deletions:
            yield _deletions(path, read.deletions, bad, reading, sources.profiles)


class _Refused(NamedTuple):
    """The lines of a file and source that are no events, and the events whose time is not within the limits."""

    lines: list[BadLine]
    times: list[BadLine]


def _run(file: str, lines: SourceLines, decoded: Decoded, reading: Reading, refused: _Refused) -> Run:
    """The events of lines of one source whose time is within the limits; what is left out is added to `refused`."""
    for index, reason, message, _ in decoded.rejects:
        refused.lines.append(BadLine(file, lines.numbers[index], reason, message))
    numbers = np.array(lines.numbers, dtype=np.int64)
    run = Run(lines.source, file, times_ms(decoded.events), decoded.events, numbers)
    if decoded.indexes is not None:
        run = run._replace(lines=numbers[decoded.indexes])
    earliest_ms, latest_ms = reading.earliest_ms, reading.latest_ms
    within = run.times >= earliest_ms
    if latest_ms is not None:
        within &= run.times <= latest_ms
    if within.all():
        return run
    for index in np.flatnonzero(~within).tolist():
        why = refusal(int(run.times[index]), earliest_ms, latest_ms)
        assert why is not None, "it lies between the limits"
        reason, message = why
        message = f"{lines.source}: {message} - at `$.time`"
        refused.times.append(BadLine(file, int(run.lines[index]), reason, message))
    events = [run.events[index] for index in np.flatnonzero(within).tolist()]
    return Run(lines.source, file, run.times[within], events, run.lines[within])


def _deletions(file: str, numbered: Sequence[Numbered], bad: list[BadLine], reading: Reading, source: Source) -> Run:
    """Profiles without a value, as a compacted topic has them."""
    numbers, values = zip(*numbered, strict=True)
    decoded = decode(source, values)
    for profile in decoded.events:
        if isinstance(profile, ProfileEvent):
            profile.deletes = True
    refused = _Refused([], [])
    run = _run(file, SourceLines(PROFILE_SOURCE, numbers, values), decoded, reading, refused)
    bad += [*refused.lines, *refused.times]
    return run
