"""The same engine over JSON Lines files: `vitals score`, `vitals explain` and `vitals check --against`.

Owns reading files as if they were topics. Every line is an event; its source is the line's `topic`, or the name of a
file `<topic>.jsonl`. Lines are applied in event-time order, one partition, no clock. `agents.backtest` replays what is
read here in its own way.
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
    """A line that is no event: where, and why."""

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
    """What files gave: the engine after the last event, changes and alerts on the way, what could not be used."""

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
    """Moments to stop at on the way, and what to do there.

    `moments` gets the time of the first event and of the end (epoch ms) and gives moments, ascending; those after the
    end are left out. `look` gets the engine as of each: with all events up to it, and time passed up to it. Before the
    first event the engine is empty and has no `as_of`.
    """

    moments: Callable[[int, int], Iterable[int]]
    look: Callable[[int, Engine], None]


def replay_files(paths: Sequence[Path], plan: Plan, as_of_ms: int | None = None, watch: Watch | None = None) -> Replay:
    """Apply every event of the files up to `as_of_ms` (None: all), borders exact; then let time pass up to `as_of_ms`.

    Raises OSError naming the file when one can not be read.
    """
    replay = Replay(Engine(plan, dedup_ids=DEDUP_IDS))
    order = read_events(paths, replay.bad)
    profiles = [part for part in order if part.source == PROFILE_SOURCE]
    events = [
        part for part in order if part.source != PROFILE_SOURCE and (as_of_ms is None or part.time_ms <= as_of_ms)
    ]
    offsets = Counter[str]()
    # Profiles hold for the whole of a file: what is known of an account is known when its events come.
    _take(replay, profiles, offsets)
    done = 0
    if watch is not None and events:
        times = [part.time_ms for part in events]
        end_ms = times[-1] if as_of_ms is None else as_of_ms
        for moment in watch.moments(times[0], end_ms):
            if moment > end_ms:
                break
            upto = bisect_right(times, moment)
            _take(replay, events[done:upto], offsets)
            done = upto
            if replay.engine.as_of is not None:
                _note(replay, replay.engine.advance_to(moment))
            watch.look(moment, replay.engine)
    _take(replay, events[done:], offsets)
    if as_of_ms is not None and replay.engine.as_of is not None:
        _note(replay, replay.engine.advance_to(as_of_ms))
    return replay


def _take(replay: Replay, order: list[TimedEvent], offsets: Counter[str]) -> None:
    for start in range(0, len(order), STEP_EVENTS):
        _note(replay, replay.engine.step(batches_of(order[start : start + STEP_EVENTS], offsets), Mode.HEAD, None))


def read_events(paths: Sequence[Path], bad: list[BadLine]) -> list[TimedEvent]:
    """Every event of the files in order of time, ties in the order of `SOURCES`, then of the lines.

    Lines that are no event are appended to `bad`. Raises OSError naming the file when one can not be read.
    """
    tagged = list(_read(paths, bad))
    order: list[TimedEvent] = []
    for source in SOURCES:
        events = [event for origin, event in tagged if origin == source]
        times = times_ms(events).tolist()
        order += [TimedEvent(time, source, event) for time, event in zip(times, events, strict=True)]
    order.sort(key=lambda part: part.time_ms)
    return order


def _note(replay: Replay, effects: Effects) -> None:
    replay.changes.extend(effects.changes)
    replay.alerts.extend(effects.alerts)
    replay.outcomes.update(effects.outcomes)
    replay.bad.extend(
        BadLine("(events)", letter.offset, letter.reason, letter.message) for letter in effects.dead_letters
    )


def batches_of(part: Sequence[TimedEvent], offsets: Counter[str]) -> list[Batch]:
    """Consecutive events as one batch a source; `offsets` holds the next offset of each source and is moved on."""
    batches = []
    for source in (*METRIC_SOURCES, PROFILE_SOURCE):
        selected = [(at, timed.event) for at, timed in enumerate(part) if timed.source == source]
        if selected:
            first = offsets[source]
            offsets[source] += len(selected)
            # The place in the merged order serves as record time.
            stamps = np.array([at for at, _ in selected], dtype=np.int64)
            numbers = np.arange(first, offsets[source], dtype=np.int64)
            batches.append(Batch(source, numbers, stamps, [event for _, event in selected], offsets[source]))
    return batches


def _read(paths: Sequence[Path], bad: list[BadLine]) -> Iterable[tuple[str, Event]]:
    tag = msgspec.json.Decoder(_Tagged)
    for path in paths:
        lines = path.read_bytes().splitlines()
        by_name = path.stem if path.stem in SOURCES else None
        groups: dict[str, list[tuple[int, bytes]]] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            source = by_name
            if source is None:
                try:
                    source = tag.decode(line).topic
                except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                    bad.append(BadLine(str(path), number, "malformed_json", str(error)))
                    continue
            if source not in SOURCES:
                allowed = ", ".join(SOURCES)
                message = f"topic {source!r} is none of {allowed}; name it in the line, or the file <topic>.jsonl"
                bad.append(BadLine(str(path), number, "unknown_topic", message))
                continue
            groups.setdefault(source, []).append((number, line))
        for source, part in groups.items():
            decoded = decode(source, [line for _, line in part])
            for index, reason, message in decoded.rejects:
                bad.append(BadLine(str(path), part[index][0], reason, message))
            for event in decoded.events:
                yield source, event
