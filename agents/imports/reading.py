"""Read event files for an import: which events they have, and which records are left out.

Owns that an import takes exactly the records that `vitals score` takes, with the same ids, and that each of the others
goes to the rejects. Called by `vitals import`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from agents.files.formats import STDIN
from agents.files.inputs import FileEvents, Numbered, read_in_chunks
from agents.files.playback import BadLine
from agents.files.replay import Reading
from agents.imports.plan import Oldest, Plan
from agents.imports.rejects import Rejects
from agents.imports.spool import SpooledEvent
from schemas.codecs import decode, times_ms
from schemas.events import PROFILE_SOURCE
from schemas.plausible_times import refusal
from schemas.properties import NONE, Properties
from schemas.sources import Sources
from stream.mapping.recognition import recognise

_SENT_WITHOUT = "sent_without_fields"


class EventFiles:
    """Event files and how they are read; `oldest` is the oldest time that the topic of each source keeps."""

    def __init__(
        self, paths: Sequence[Path], sources: Sources, reading: Reading, oldest: Oldest, properties: Properties = NONE
    ) -> None:
        """`properties` are those that the policy names."""
        self.paths, self._sources, self._reading, self._oldest = paths, sources, reading, oldest
        self._properties = properties
        self._ranks = {name: rank for rank, name in enumerate(sources.names)}

    def events(self, plan: Plan, rejects: Rejects) -> Iterator[SpooledEvent]:
        """Every event in the order of the files; `plan` counts them. Raises OSError with the file's name."""
        reading = self._reading
        for path in self.paths:
            for read in read_in_chunks(path, self._sources, reading.mapping, reading.progress):
                plan.records += read.records
                for rule, count in read.skipped.items():
                    plan.skipped[rule] = plan.skipped.get(rule, 0) + count
                for bad in read.bad:
                    _refuse(plan, rejects, bad, read)
                yield from self._of_chunk(str(path), read, plan, rejects)

    def _of_chunk(self, file: str, read: FileEvents, plan: Plan, rejects: Rejects) -> Iterator[SpooledEvent]:
        for source in self._sources.names:
            yield from self._decoded(source, file, read, plan, rejects)
        yield from self._decoded(PROFILE_SOURCE, file, read, plan, rejects, deletes=True)

    def _decoded(
        self, source: str, file: str, read: FileEvents, plan: Plan, rejects: Rejects, *, deletes: bool = False
    ) -> Iterator[SpooledEvent]:
        numbered: Sequence[Numbered] = read.deletions if deletes else read.by_source.get(source, [])
        if not numbered:
            return
        values = [value for _, value in numbered]
        refused = decode(self._sources[source], values, self._properties)
        decoded = recognise(self._sources[source], values, refused, self._properties).decoded
        for index, reason, message, whole in decoded.rejects:
            _refuse(plan, rejects, BadLine(file, numbered[index].number, reason, message), read, whole=whole)
        indexes = range(len(values)) if decoded.indexes is None else decoded.indexes.tolist()
        earliest_ms, latest_ms = self._reading.earliest_ms, self._reading.latest_ms
        times = times_ms(decoded.events).tolist()
        for index, event, time_ms in zip(indexes, decoded.events, times, strict=True):
            line, value = numbered[index]
            why = refusal(time_ms, earliest_ms, latest_ms)
            if why is not None:
                reason, message = why
                _refuse(plan, rejects, BadLine(file, line, reason, f"{source}: {message} - at `$.time`"), read)
                continue
            plan.count(source, time_ms, deletes=deletes, oldest=self._oldest)
            content = None if deletes else value
            yield SpooledEvent(time_ms, self._ranks[source], source, event.account_id, content, file, line)


def _refuse(plan: Plan, rejects: Rejects, bad: BadLine, read: FileEvents, *, whole: bool = True) -> None:
    if whole:
        plan.refused[bad.reason] = plan.refused.get(bad.reason, 0) + 1
    else:
        plan.incomplete += 1
        bad = BadLine(bad.file, bad.line, _SENT_WITHOUT, bad.message)
    rejects.add(bad, read.originals.get(bad.line))


def inputs_of(paths: Sequence[Path], mappings: Sequence[Path], sources: Sources, earliest_ms: int) -> dict[str, str]:
    """What an import reads, to notice a change of it: size and time of each file, and how its records are read.

    Raises OSError with the file's name.
    """
    inputs = {}
    for path in [path for path in (*paths, *mappings) if path != STDIN]:
        status = path.stat()
        inputs[str(path)] = f"{status.st_size} bytes, {status.st_mtime_ns}"
    return inputs | {"--allow-before": str(earliest_ms), "the sources of the policy": _text_of(sources)}


def _text_of(sources: Sources) -> str:
    listed = [(source.name, source.topic, source.texts, source.numbers, source.flags) for source in sources]
    return msgspec.json.encode(listed).decode()


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is not as it was when an import began."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
