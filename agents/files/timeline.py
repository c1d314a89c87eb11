"""Events in order of their time, as columns: what a replay of files is played from.

Owns the order of events of several files: by time, then by source, then by file and line. An event is an object of its
own only where it is asked for (`TimedEvent`), since a file can have millions. Called by `agents.files.replay`, which
makes them, and `agents.files.playback`, which plays them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from schemas.events import Event


class TimedEvent(NamedTuple):
    """An event with its time (epoch ms), its source, and the file and line that it is in."""

    time_ms: int
    source: str
    event: Event
    file: str = "(events)"
    line: int = 0


class Run(NamedTuple):
    """Events of one source and file in the order of its lines, with the time (epoch ms) and the line of each."""

    source: str
    file: str
    times: NDArray[np.int64]
    events: Sequence[Event]
    lines: NDArray[np.int64]


class Timeline(Sequence[TimedEvent]):
    """Events in order of time.

    All have `size` entries: `times` are epoch ms, `lines` the line of each event in its file; `sources` and `files` are
    indexes in `names` and `paths`.
    """

    def __init__(
        self,
        names: Sequence[str],
        paths: Sequence[str],
        *,
        times: NDArray[np.int64],
        sources: NDArray[np.int32],
        files: NDArray[np.int32],
        lines: NDArray[np.int64],
        events: list[Event],
    ) -> None:
        """Of columns; whoever has them has ordered them."""
        self.names, self._paths = names, paths
        self.times, self.sources, self._files, self._lines = times, sources, files, lines
        self.events = events

    @classmethod
    def merged(cls, runs: Sequence[Run], names: Sequence[str]) -> Timeline:
        """All events of `runs`; ties are in the order of `names`, the sources, then in that of `runs`."""
        ranks = {name: rank for rank, name in enumerate(names)}
        runs = sorted(runs, key=lambda run: ranks[run.source])
        paths = list(dict.fromkeys(run.file for run in runs))
        numbers = {path: number for number, path in enumerate(paths)}
        sizes = [len(run.events) for run in runs]
        times = _joined([run.times for run in runs])
        sources = np.repeat(np.array([ranks[run.source] for run in runs], dtype=np.int32), sizes)
        files = np.repeat(np.array([numbers[run.file] for run in runs], dtype=np.int32), sizes)
        lines = _joined([run.lines for run in runs])
        events = [event for run in runs for event in run.events] if len(runs) > 1 else [*runs[0].events] if runs else []
        if len(times) and (times[1:] < times[:-1]).any():
            order = np.argsort(times, kind="stable")
            times, sources, files, lines = times[order], sources[order], files[order], lines[order]
            events = list(map(events.__getitem__, order.tolist()))
        return cls(names, paths, times=times, sources=sources, files=files, lines=lines, events=events)

    @classmethod
    def of(cls, events: Sequence[TimedEvent]) -> Timeline:
        """Events that are in order of time."""
        if isinstance(events, Timeline):
            return events
        names = {name: number for number, name in enumerate(dict.fromkeys(timed.source for timed in events))}
        paths = {path: number for number, path in enumerate(dict.fromkeys(timed.file for timed in events))}
        return cls(
            [*names],
            [*paths],
            times=np.array([timed.time_ms for timed in events], dtype=np.int64),
            sources=np.array([names[timed.source] for timed in events], dtype=np.int32),
            files=np.array([paths[timed.file] for timed in events], dtype=np.int32),
            lines=np.array([timed.line for timed in events], dtype=np.int64),
            events=[timed.event for timed in events],
        )

    def __len__(self) -> int:
        """Number of events."""
        return len(self.events)

    @overload
    def __getitem__(self, index: int) -> TimedEvent: ...
    @overload
    def __getitem__(self, index: slice) -> Timeline: ...
    def __getitem__(self, index: int | slice) -> TimedEvent | Timeline:
        """One event, or those of a slice."""
        if isinstance(index, slice):
            return Timeline(
                self.names,
                self._paths,
                times=self.times[index],
                sources=self.sources[index],
                files=self._files[index],
                lines=self._lines[index],
                events=self.events[index],
            )
        return TimedEvent(
            int(self.times[index]),
            self.names[self.sources[index]],
            self.events[index],
            self._paths[self._files[index]],
            int(self._lines[index]),
        )

    def __iter__(self) -> Iterator[TimedEvent]:
        """Every event."""
        sources = map(self.names.__getitem__, self.sources.tolist())
        files = map(self._paths.__getitem__, self._files.tolist())
        return map(TimedEvent, self.times.tolist(), sources, self.events, files, self._lines.tolist())

    def of_source(self, name: str) -> NDArray[np.bool_]:
        """Which events are of a source, bool (k,)."""
        if name not in self.names:
            return np.zeros(len(self), dtype=np.bool_)
        return np.asarray(self.sources == self.names.index(name), dtype=np.bool_)

    def count_until(self, moment_ms: int) -> int:
        """How many events are not later than a moment (epoch ms)."""
        return int(np.searchsorted(self.times, moment_ms, side="right"))


def _joined(columns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(columns) if columns else np.zeros(0, dtype=np.int64)
