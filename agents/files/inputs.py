"""Turn the records of files into events of sources: JSON lines of ours, rows of tables, and mapped records.

Owns which source the records of a file have, and the place by which a record is named. Must not know times, policies
and engines. Called by `agents.files.replay` and `vitals map`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agents.files.formats import Block, FormatError, Input, Record, Rows, blocks_of, records_of, stem_of
from agents.files.playback import BadLine
from agents.process.progress import Progress, unseen
from schemas.codecs import INVALID_FIELD, MALFORMED_JSON
from schemas.events import PROFILE_SOURCE
from schemas.foreign_forms import foreign_form
from schemas.sources import Sources
from stream.mapping.apply import BoundMapping, ForeignRecord, Mapped, no_rule, source_of
from stream.mapping.expressions import compile_expression
from stream.mapping.framing import UnmappedValueError, unwrap
from stream.mapping.rules import InputMapping, Rule

UNKNOWN_TOPIC = "unknown_topic"
UNMAPPED = "unmapped"
NOT_MAPPED = "mapping_failed"
UNREADABLE = "unreadable_file"
_TOPIC = "topic"
_KEEPS_OUT = (
    "it is an event already: copy the mapping, give its rules `from`, the names of the files that they are for, and "
    "name the copy with --mapping (a copy that `vitals init` writes has it)"
)
_HINT = "set `topic` in the line, name the file <topic>.jsonl, or map it: --mapping"


class _Tagged(msgspec.Struct):
    topic: str | None = None


_TAG = msgspec.json.Decoder(_Tagged)
_COLUMNS = InputMapping("(columns)", (Rule("columns", (), {}, copy=compile_expression("@")),))
"""A row of a table has the fields of its source as columns."""


class Numbered(NamedTuple):
    """The JSON of one event, and the number of the line, element or row that it comes from."""

    number: int
    value: bytes


@dataclass(slots=True)
class FileEvents:
    """The events of one file by source, the lines that are none, and how many records each rule of a mapping skips.

    `deletions` delete profiles: the id, account and time of each. `originals` are the records by their numbers, where
    whoever reads wants them.
    """

    by_source: dict[str, list[Numbered]] = field(default_factory=dict)
    deletions: list[Numbered] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    records: int = 0
    originals: dict[int, bytes | dict[str, Any]] = field(default_factory=dict)


SHOWN_EVERY = 5_000
_CHUNK_BYTES = 16 * 1024 * 1024
Watch = Callable[[Record, Mapped], None]


def read_file(
    file: Input,
    sources: Sources,
    mapping: InputMapping | None = None,
    watch: Watch | None = None,
    progress: Progress = unseen,
) -> FileEvents:
    """Read a file or rows; `watch` gets every record that a mapping is applied to. Raises OSError with the file's name.

    Rows are read like those of a file that is called after their topic.
    """
    reader = _Reader(file, sources, mapping, watch)
    for _ in reader.chunks(progress, None):
        pass
    return reader.read


class SourceLines(NamedTuple):
    """The JSON of events of one source, and the number of the line, element or row of each."""

    source: str
    numbers: Sequence[int]
    values: Sequence[bytes]


def source_lines(
    file: Input, sources: Sources, mapping: InputMapping | None, read: FileEvents, progress: Progress = unseen
) -> Iterator[SourceLines]:
    """Read a file or rows as `read_file` does, but without keeping the JSON of a large file.

    In the end `read` has everything else: lines that are no events, deletions, what a mapping skips.
    """
    reader = _Reader(file, sources, mapping, None)
    reader.read = read
    yield from reader.lines(progress)


def read_in_chunks(
    path: Path, sources: Sources, mapping: InputMapping | None = None, progress: Progress = unseen, size: int = 5_000
) -> Iterator[FileEvents]:
    """Read one file as `read_file` does, but at most `size` records or some 16 MiB at once, and with `originals`."""
    reader = _Reader(path, sources, mapping, None)
    for read in reader.chunks(progress, size):
        yield read
        reader.read = FileEvents()


def _without_topic(line: bytes) -> bytes:
    """A profile without the field that says that it is one: any other field would be an attribute of the account."""
    try:
        profile = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return line  # it is refused with its message later
    return msgspec.json.encode({name: value for name, value in profile.items() if name != _TOPIC})


class _Reader:
    """Reads the records of one file, whose name can be that of a source."""

    def __init__(self, file: Input, sources: Sources, mapping: InputMapping | None, watch: Watch | None) -> None:
        self.read = FileEvents()
        self._sources = sources
        self._file = file
        self._path = Path(file.label) if isinstance(file, Rows) else file
        self._name = file.topic if isinstance(file, Rows) else stem_of(file)
        self._source = source_of(self._name, sources)
        self._mapping = BoundMapping(mapping, sources) if mapping is not None and mapping.reads(self._name) else None
        self._columns = BoundMapping(_COLUMNS, sources)
        self._watch = watch

    def chunks(self, progress: Progress, size: int | None) -> Iterator[FileEvents]:
        """Read the file; what was read so far, after `size` records or many bytes, and at the end. None: at the end."""
        chunk_bytes = 0
        try:
            records = self._file.records() if isinstance(self._file, Rows) else records_of(self._file)
            for number, record in enumerate(records, 1):
                if size is not None:
                    self.read.originals[record.number] = record.value
                self.take(record)
                if number % SHOWN_EVERY == 0:
                    progress(f"records of {self._path.name}", number, None)
                chunk_bytes += len(record.value)
                if size is not None and (self.read.records >= size or chunk_bytes >= _CHUNK_BYTES):
                    chunk_bytes = 0
                    yield self.read
        except FormatError as error:
            self._end(error)
        yield self.read

    def lines(self, progress: Progress) -> Iterator[SourceLines]:
        """Read the file; the events of each source, in one or several runs of lines.

        JSON Lines that are all of the file's source are passed on as they are read.
        """
        if self._source is None or self._mapping is not None or isinstance(self._file, Rows):
            for _ in self.chunks(progress, None):
                pass
        else:
            try:
                for each in blocks_of(self._file):
                    if isinstance(each, Block):
                        self.read.records += len(each.values)
                        yield SourceLines(self._source, each.numbers, each.values)
                    else:
                        self.take(each)
                    if isinstance(each, Block) or self.read.records % SHOWN_EVERY == 0:
                        progress(f"records of {self._path.name}", self.read.records, None)
            except FormatError as error:
                self._end(error)
        for source in self._sources.names:
            if numbered := self.read.by_source.pop(source, None):
                numbers, values = zip(*numbered, strict=True)
                yield SourceLines(source, numbers, values)

    def _end(self, error: FormatError) -> None:
        self.refuse(error.number, UNREADABLE, f"{error}; nothing after it is read")

    def refuse(self, number: int, reason: str, message: str) -> None:
        self.read.bad.append(BadLine(str(self._path), number, reason, message))

    def take(self, record: Record) -> None:
        self.read.records += 1
        if self._mapping is not None:
            self._map(record, self._mapping)
        elif isinstance(record.value, dict):
            self._row(record, record.value)
        else:
            self._line(record.number, record.value)

    def _line(self, number: int, line: bytes) -> None:
        """One JSON event. Its source is the one that the file is called after, else its field `topic`."""
        if self._source is not None:
            self._add(self._source, number, line)
            return
        try:
            topic = _TAG.decode(line).topic
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            self.refuse(number, MALFORMED_JSON, foreign_form(line) or str(error))
            return
        if topic is not None and topic in self._sources.spelled:
            source = self._sources.spelled[topic]
            self._add(source, number, _without_topic(line) if source == PROFILE_SOURCE else line)
            return
        form = foreign_form(line)
        message = f"topic {topic!r} is not one of {', '.join(self._sources.names)}; {_HINT}"
        self.refuse(number, UNKNOWN_TOPIC if form is None else INVALID_FIELD, form or message)

    def _row(self, record: Record, row: dict[str, Any]) -> None:
        """One row of a table whose columns are the fields of a source: the file's, else that of the column `topic`."""
        topic = str(row.get(_TOPIC, self._name))
        row = {name: value for name, value in row.items() if name != _TOPIC}
        source = self._source or self._sources.spelled.get(topic)
        if source is not None:
            self._apply(record, ForeignRecord(source, row, self._origin(record)), self._columns)
            return
        message = (
            f"topic {topic!r} is not one of {', '.join(self._sources.names)}; add a column topic, or map it: --mapping"
        )
        self.refuse(record.number, UNKNOWN_TOPIC, message)

    def _map(self, record: Record, mapping: BoundMapping) -> None:
        try:
            value = unwrap(record.value) if isinstance(record.value, bytes) else record.value
        except UnmappedValueError as error:
            self.refuse(record.number, MALFORMED_JSON, str(error))
            return
        self._apply(record, ForeignRecord(self._name, value, self._origin(record)), mapping)

    def _apply(self, record: Record, foreign: ForeignRecord, mapping: BoundMapping) -> None:
        mapped = mapping.apply(foreign)
        for event in mapped.events:
            if event.value is not None:
                self._add(event.source, record.number, event.value)
            elif event.deletion is not None:
                self.read.deletions.append(Numbered(record.number, event.deletion))
        self.read.skipped.update(mapped.skipped)
        for problem in mapped.problems:
            self.refuse(record.number, NOT_MAPPED, problem)
        if not (mapped.events or mapped.skipped or mapped.problems):
            hint = f"; {_KEEPS_OUT}" if self._is_event(foreign.value) else ""
            self.refuse(record.number, UNMAPPED, f"{no_rule(mapping.mapping, foreign.value)}{hint}")
        if self._watch is not None:
            self._watch(record, mapped)

    def _is_event(self, value: Any) -> bool:
        """Whether a record that no rule is for would be read as an event if the mapping were not for its file."""
        if not (isinstance(value, dict) and "account_id" in value and "time" in value):
            return False
        topic = value.get(_TOPIC)
        return self._source is not None or (isinstance(topic, str) and topic in self._sources.spelled)

    def _add(self, source: str, number: int, value: bytes) -> None:
        self.read.by_source.setdefault(source, []).append(Numbered(number, value))

    def _origin(self, record: Record) -> str:
        return f"{self._path.as_posix()}:{record.number}"
