"""Events of one batch as columns, read by the native decoder without an object for each event.

Owns which event types and records are read this way, and what replaces the attributes of an event. A record that the
native decoder does not take for plain is decoded in Python like any other, and its event put beside the columns
(`others`): results are the same with and without the library. Called by `agents.kafka.source_records`; read by
`stream.ingest.batch`, `stream.accounts.index` and `stream.plan.column_fields`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, cast, overload

import msgspec.inspect
import numpy as np
from numpy.typing import NDArray

from schemas.codecs import Decoded, decode, decode_each, decoder_of, times_ms
from schemas.events import Event
from schemas.native.library import MOST_FIELDS, Columns, EventReader, Field, Positions, Spans, load
from schemas.properties import NONE, Properties
from schemas.sources import Source

FEW = 32
"""Up to so many records are decoded in Python: the calls of the library cost more than they save."""
_MOST_READERS = 1000


class TypeReader:
    """The native reader of one event type, and where it puts which field."""

    def __init__(self, library: Any, source: Source, fields: Sequence[Field]) -> None:
        """Compile the fields of the source's event type."""
        self.library = library
        self.decoder = decoder_of(source, ())
        self.slots = {field.name: field.slot for field in fields}
        self.numbers = frozenset(field.name for field in fields if field.kind == "n")
        self._reader = EventReader(self.library, fields)

    def read(self, values: Spans) -> Columns:
        """Columns of records; those that are not plain have no values in them."""
        return self._reader.read(values)


class EventColumns(Sequence[Event]):
    """Decoded events as columns; one that is asked for is decoded again.

    `others` are the events that were decoded in Python, by their index: columns have no values of them.
    """

    def __init__(self, reader: TypeReader, values: Spans, columns: Columns, others: dict[int, Event]) -> None:
        """Take what was read of records, all of which are events."""
        self._reader, self._values, self._columns = reader, values, columns
        self.others = others
        self.times = columns.times
        """Epoch milliseconds, int64 (k,)."""
        if others:
            self.times[list(others)] = times_ms(list(others.values()))

    def __len__(self) -> int:
        """How many events."""
        return len(self.times)

    @overload
    def __getitem__(self, index: int) -> Event: ...

    @overload
    def __getitem__(self, index: slice) -> EventColumns: ...

    def __getitem__(self, index: int | slice) -> Event | EventColumns:
        """The event with an index, or those of a slice."""
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        index = range(len(self))[index]
        if index in self.others:
            return self.others[index]
        return self._reader.decoder.decode(self._values.text(index) or b"")

    def __iter__(self) -> Iterator[Event]:
        """All events in turn."""
        return map(self.__getitem__, range(len(self)))

    def take(self, indexes: Positions) -> EventColumns:
        """The events with these indexes, int64 (j,), in ascending order."""
        if len(indexes) == len(self):
            return self
        columns, others = self._columns, self.others
        if others:
            positions = {index: position for position, index in enumerate(indexes.tolist()) if index in others}
            others = {position: others[index] for index, position in positions.items()}
        chosen = Columns(
            columns.plain[indexes],
            columns.times[indexes],
            np.ascontiguousarray(columns.spans[:, :, indexes]),
            columns.numbers[:, indexes],
        )
        return EventColumns(self._reader, self._values.take(indexes), chosen, others)

    @property
    def library(self) -> Any:
        """The native library."""
        return self._reader.library

    def is_number(self, field: str) -> bool:
        """Whether a field has numbers; else it has texts."""
        return field in self._reader.numbers

    def texts(self, field: str) -> Spans:
        """The values of a text field or flag; none where it is null or missing, or of another event (`others`)."""
        starts, ends = self._columns.spans[self._reader.slots[field]]
        return Spans(self._values.buffer, starts, ends)

    def numbers(self, field: str) -> NDArray[np.float64]:
        """The values of a number field, float64 (k,); NaN where it is null or missing, or of another event."""
        numbers: NDArray[np.float64] = self._columns.numbers[self._reader.slots[field]].copy()
        return numbers


def read_events(source: Source, values: Sequence[bytes | None] | Spans, properties: Properties = NONE) -> Decoded:
    """Decode the record values of one source, as columns if the native decoder can read most of them."""
    count = len(values.starts) if isinstance(values, Spans) else len(values)
    reader = None if count <= FEW else _reader_of(source, properties.get(source.name, ()))
    if reader is None:
        return decode(source, values.values() if isinstance(values, Spans) else values, properties)
    spans = values if isinstance(values, Spans) else Spans.of(values)
    columns = reader.read(spans)
    others = np.flatnonzero(columns.plain == 0)
    if len(others) * 2 > count:
        return decode(source, spans.values(), properties)
    if not len(others):
        return Decoded(EventColumns(reader, spans, columns, {}), None, [])
    decoded = decode_each(reader.decoder, source, [spans.text(index) for index in others.tolist()])
    assert decoded.indexes is not None, "each was decoded alone"
    indexes = others[decoded.indexes].tolist()
    events = EventColumns(reader, spans, columns, dict(zip(indexes, decoded.events, strict=True)))
    if not decoded.rejects:
        return Decoded(events, None, [])
    rejects = [reject._replace(position=int(others[reject.position])) for reject in decoded.rejects]
    accepted = np.ones(count, dtype=bool)
    accepted[[reject.position for reject in rejects]] = False
    accepted_indexes = np.flatnonzero(accepted)
    return Decoded(events.take(accepted_indexes), accepted_indexes, rejects)


@lru_cache(_MOST_READERS)
def _reader_of(source: Source, properties: tuple[str, ...]) -> TypeReader | None:
    """The reader of a source's event type; None where Python has to decode it."""
    library = None if properties else load()
    fields = None if library is None else fields_of(source.event_type)
    return None if fields is None else TypeReader(library, source, fields)


def fields_of(event_type: Any) -> list[Field] | None:
    """The fields of an event type for the native decoder; None if it has what that does not know."""
    described = cast("msgspec.inspect.StructType", msgspec.inspect.type_info(event_type))
    has_more = hasattr(event_type, "__post_init__") or described.forbid_unknown_fields or described.tag is not None
    if has_more or len(described.fields) > MOST_FIELDS:
        return None
    fields: list[Field] = []
    slots = {"t": 0, "n": 0}
    for each in described.fields:
        field = _field(each)
        if field is None:
            return None
        column = "n" if field.kind == "n" else "t"
        if field.kind != "i":
            field = field._replace(slot=slots[column])
            slots[column] += 1
        fields.append(field)
    return fields


def _field(described: msgspec.inspect.Field) -> Field | None:
    name, kind = described.encode_name, described.type
    kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    types = [each for each in kinds if not isinstance(each, msgspec.inspect.NoneType)]
    is_written_as_it_is = '"' not in name and "\\" not in name and name.isprintable()
    limits = _limits(name, types) if is_written_as_it_is else None
    return limits and limits._replace(required=described.required, nullable=len(types) < len(kinds))


def _limits(name: str, types: Sequence[msgspec.inspect.Type]) -> Field | None:
    """A field with one of these types, and what its values may be."""
    match types:
        case [msgspec.inspect.StrType(min_length=shortest, max_length=None, pattern=None)] if shortest in {None, 1}:
            field = Field(name, "t", not_empty=shortest == 1)
        case [msgspec.inspect.LiteralType(values=words)] if all(isinstance(word, str) for word in words):
            field = Field(name, "t", words=cast("tuple[str, ...]", words))
        case [msgspec.inspect.BoolType()]:
            field = Field(name, "f")
        case [
            msgspec.inspect.FloatType(
                gt=None, ge=int() | float() as least, lt=None, le=int() | float() as most, multiple_of=None
            )
        ]:
            field = Field(name, "n", least=float(least), most=float(most))
        case [msgspec.inspect.IntType(), msgspec.inspect.DateTimeType(tz=True)] if name == "time":
            field = Field(name, "i")
        case _:
            return None
    return field


def take_events(events: Sequence[Event], indexes: Positions) -> Sequence[Event]:
    """The events with these indexes, int64 (j,), in ascending order."""
    if isinstance(events, EventColumns):
        return events.take(indexes)
    return [events[index] for index in indexes.tolist()]


def times_of(events: Sequence[Event]) -> NDArray[np.int64]:
    """The `time` of each event as epoch milliseconds, int64 of shape (len(events),)."""
    return events.times if isinstance(events, EventColumns) else times_ms(events)
