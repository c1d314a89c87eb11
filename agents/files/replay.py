"""Replays JSON Lines event files through the engine: `vitals score`, `vitals explain` and `vitals check --against`.

Owns reading files as if they were topics. Every line is an event; its source is the line's `topic`, or the name of a
file `<topic>.jsonl`. Events are applied in order of their time, as one partition, without a clock. `agents.backtest`
uses the reading and has a replay of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from schemas.codecs import decode, times_ms
from schemas.events import METRIC_SOURCES, PROFILE_SOURCE, SOURCES, Event
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.plan.plan import Plan
from stream.publishing.effects import Effects, Message

STEP_EVENTS = 5_000
DEDUP_IDS = 50_000_000


class _Tagged(msgspec.Struct):
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is not a valid event: its file and number, and the reason."""

    file: str
    line: int
    reason: str
    message: str


class TimedEvent(NamedTuple):
    """An event with its time (epoch ms) and its source."""

    time_ms: int
    source: str
    event: Event


@dataclass(slots=True)
class Replay:
    """The result of a replay: the engine after the last event, all changes and alerts, and the unusable lines."""

    engine: Engine
    bad: list[BadLine] = field(default_factory=list)
    changes: list[Message[bytes]] = field(default_factory=list)
    alerts: list[Message[bytes]] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def changes_of(self, account: str) -> list[Message[bytes]]:
        """One account's changes, in order."""
        key = account.encode()
        return [message for message in self.changes if message.key == key]


@dataclass(frozen=True, slots=True)
class Watch:
    """Times at which to pause the replay, and what to do then.

    `moments` gets the time of the first event and of the end (epoch ms) and returns times in ascending order; those
    after the end are ignored. `look` gets each time and the engine, with all events and window boundaries up to it.
    Before the first event the engine is empty and has no `as_of`.
    """

    moments: Callable[[int, int], Iterable[int]]
    look: Callable[[int, Engine], None]


def replay_files(paths: Sequence[Path], plan: Plan, as_of_ms: int | None = None, watch: Watch | None = None) -> Replay:
    """Apply every event up to `as_of_ms` (None: all) and every window boundary between; then advance to `as_of_ms`.

    Raises OSError with the file's name when one cannot be read.
    """
    replay = Replay(Engine(plan, dedup_ids=DEDUP_IDS))
    timed_events = read_events(paths, replay.bad)
    profiles = [timed for timed in timed_events if timed.source == PROFILE_SOURCE]
    events = [
        timed
        for timed in timed_events
        if timed.source != PROFILE_SOURCE and (as_of_ms is None or timed.time_ms <= as_of_ms)
    ]
    offsets = Counter[str]()
    # A profile is valid for the whole file: it is applied before all events.
    _apply(replay, profiles, offsets)
    applied = 0
    if watch is not None and events:
        times = [timed.time_ms for timed in events]
        end_ms = times[-1] if as_of_ms is None else as_of_ms
        for moment in watch.moments(times[0], end_ms):
            if moment > end_ms:
                break
            until = bisect_right(times, moment)
            _apply(replay, events[applied:until], offsets)
            applied = until
            if replay.engine.as_of is not None:
                _collect(replay, replay.engine.advance_to(moment))
            watch.look(moment, replay.engine)
    _apply(replay, events[applied:], offsets)
    if as_of_ms is not None and replay.engine.as_of is not None:
        _collect(replay, replay.engine.advance_to(as_of_ms))
    return replay


def _apply(replay: Replay, events: list[TimedEvent], offsets: Counter[str]) -> None:
    for start in range(0, len(events), STEP_EVENTS):
        _collect(replay, replay.engine.step(batches_of(events[start : start + STEP_EVENTS], offsets), Mode.HEAD, None))


def read_events(paths: Sequence[Path], bad: list[BadLine]) -> list[TimedEvent]:
    """Every event of the files in order of time, ties in the order of `SOURCES`, then of the lines.

    Lines that are not valid events are appended to `bad`. Raises OSError with the file's name when one cannot be read.
    """
    tagged = list(_read(paths, bad))
    timed_events: list[TimedEvent] = []
    for source in SOURCES:
        events = [event for origin, event in tagged if origin == source]
        times = times_ms(events).tolist()
        timed_events += [TimedEvent(time, source, event) for time, event in zip(times, events, strict=True)]
    timed_events.sort(key=lambda timed: timed.time_ms)
    return timed_events


def _collect(replay: Replay, effects: Effects) -> None:
    if effects.erased:
        erased = {each.account for each in effects.erased}
        replay.changes[:] = [change for change in replay.changes if change.key not in erased]
    replay.changes.extend(effects.changes)
    replay.alerts.extend(effects.alerts)
    replay.outcomes.update(effects.outcomes)
    replay.bad.extend(BadLine("(events)", dead.offset, dead.reason, dead.message) for dead in effects.dead_letters)


def batches_of(events: Sequence[TimedEvent], offsets: Counter[str]) -> list[Batch]:
    """Consecutive events as one batch for each source; `offsets` has the next offset of each and is advanced."""
    batches = []
    for source in (*METRIC_SOURCES, PROFILE_SOURCE):
        selected = [(index, timed.event) for index, timed in enumerate(events) if timed.source == source]
        if selected:
            first = offsets[source]
            offsets[source] += len(selected)
            # The index in the merged order serves as record time.
            stamps = np.array([index for index, _ in selected], dtype=np.int64)
            numbers = np.arange(first, offsets[source], dtype=np.int64)
            batches.append(Batch(source, numbers, stamps, [event for _, event in selected], offsets[source]))
    return batches


def _read(paths: Sequence[Path], bad: list[BadLine]) -> Iterable[tuple[str, Event]]:
    tag = msgspec.json.Decoder(_Tagged)
    for path in paths:
        lines = path.read_bytes().splitlines()
        source_by_name = path.stem if path.stem in SOURCES else None
        groups: dict[str, list[tuple[int, bytes]]] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            source = source_by_name
            if source is None:
                try:
                    source = tag.decode(line).topic
                except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                    bad.append(BadLine(str(path), number, "malformed_json", str(error)))
                    continue
            if source not in SOURCES:
                allowed = ", ".join(SOURCES)
                message = (
                    f"topic {source!r} is not one of {allowed}; set `topic` in the line, or name the file <topic>.jsonl"
                )
                bad.append(BadLine(str(path), number, "unknown_topic", message))
                continue
            groups.setdefault(source, []).append((number, line))
        for source, numbered in groups.items():
            decoded = decode(source, [line for _, line in numbered])
            for index, reason, message in decoded.rejects:
                bad.append(BadLine(str(path), numbered[index][0], reason, message))
            for event in decoded.events:
                yield source, event
