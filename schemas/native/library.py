"""The calls of the native library, with arrays of numpy as arguments; all of them hold the GIL.

Owns loading it and the memory that calls are given: every array is made here, with the length that the library writes.
The library is beside this file where it was built: by `make setup`, or in a wheel that was built where cargo is
installed. Called by `agents.worker.client.batch_index`, `schemas.event_columns`,
`schemas.native.newest`, `stream.accounts.index`, `stream.ingest.batch` and `stream.plan.column_fields`.
"""

from __future__ import annotations

import ctypes
import struct
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]
FILE_NAME: Final = "vitals_native.lib"
"""Not as the platform calls its libraries: one of those beside modules would be taken for a module."""
MOST_FIELDS: Final = 64
"""So many fields an event type can have that the library reads."""
_RECORD_COLUMNS = 9
_ADDRESS, _COUNT = ctypes.c_void_p, ctypes.c_size_t
_ARGUMENTS: Final[dict[str, tuple[Any, list[Any]]]] = {
    "event_schema_new": (_ADDRESS, [ctypes.c_char_p, _COUNT]),
    "event_schema_free": (None, [_ADDRESS]),
    "events_read": (_COUNT, [_ADDRESS, ctypes.c_char_p, _COUNT, *[_ADDRESS] * 2, _COUNT, *[_ADDRESS] * 4]),
    "texts_hash": (None, [ctypes.c_char_p, _COUNT, *[_ADDRESS] * 2, _COUNT, _ADDRESS]),
    "texts_match": (
        None,
        [ctypes.c_char_p, _COUNT, *[_ADDRESS] * 2, _COUNT, ctypes.c_char_p, _COUNT, _ADDRESS, _COUNT, _ADDRESS],
    ),
    "rows_new": (_ADDRESS, []),
    "rows_free": (None, [_ADDRESS]),
    "rows_put": (None, [_ADDRESS, ctypes.c_char_p, _COUNT, *[_ADDRESS] * 2, _COUNT, _ADDRESS]),
    "rows_forget": (None, [_ADDRESS, ctypes.c_char_p, _COUNT]),
    "rows_get": (_COUNT, [_ADDRESS, ctypes.c_char_p, _COUNT, *[_ADDRESS] * 2, _COUNT, _ADDRESS]),
    "newest_new": (_ADDRESS, [_COUNT, ctypes.c_int64, ctypes.c_uint64, ctypes.c_int64, _COUNT]),
    "newest_free": (None, [_ADDRESS]),
    "newest_put": (
        ctypes.c_int64,
        [_ADDRESS, ctypes.c_char_p, _COUNT, *[_ADDRESS] * 2, ctypes.c_char_p, _COUNT, *[_ADDRESS] * 2, _COUNT],
    ),
    "newest_sort": (
        ctypes.c_int64,
        [*[_ADDRESS] * 2, _COUNT, ctypes.c_char_p, _COUNT, *[_ADDRESS] * 4, _COUNT, _ADDRESS],
    ),
    "newest_count": (_COUNT, [_ADDRESS]),
    "newest_bytes": (_COUNT, [_ADDRESS]),
    "newest_slot": (ctypes.c_int64, [_ADDRESS, ctypes.c_char_p, _COUNT]),
    "newest_length": (ctypes.c_int64, [_ADDRESS, ctypes.c_int64]),
    "newest_list": (None, [_ADDRESS, _ADDRESS]),
    "newest_keys": (ctypes.c_int64, [*[_ADDRESS] * 2, _COUNT, _COUNT, _ADDRESS, _COUNT]),
    "newest_heads": (ctypes.c_int64, [*[_ADDRESS] * 2, _COUNT, _COUNT, _ADDRESS]),
    "newest_tails": (ctypes.c_int64, [*[_ADDRESS] * 2, _COUNT, _COUNT, _ADDRESS, _COUNT]),
    "records_index": (ctypes.c_int64, [ctypes.c_char_p, _COUNT, *[_ADDRESS] * 3, _COUNT, _ADDRESS, _COUNT]),
}


class Spans(NamedTuple):
    """Texts as parts of a buffer: first and last-plus-one positions, int64 (k,); a negative start is no text."""

    buffer: bytes
    starts: Positions
    ends: Positions

    def text(self, index: int) -> bytes | None:
        """The bytes of a text."""
        start = int(self.starts[index])
        return None if start < 0 else self.buffer[start : int(self.ends[index])]

    def values(self) -> list[bytes | None]:
        """The bytes of all texts."""
        buffer, bounds = self.buffer, zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        return [None if start < 0 else buffer[start:end] for start, end in bounds]

    def texts(self) -> list[str | None]:
        """All texts, decoded."""
        return [None if text is None else text.decode() for text in self.values()]

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Spans:
        """Values one behind the other in a new buffer."""
        lengths = np.fromiter([len(value or b"") for value in values], dtype=np.int64, count=len(values))
        ends = np.cumsum(lengths)
        starts = ends - lengths
        if None in values:
            starts[[index for index, value in enumerate(values) if value is None]] = -1
        return cls(b"".join([value or b"" for value in values]), starts, ends)

    def take(self, indexes: NDArray[Any] | slice) -> Spans:
        """Those under an index."""
        return Spans(self.buffer, np.ascontiguousarray(self.starts[indexes]), np.ascontiguousarray(self.ends[indexes]))


class Columns(NamedTuple):
    """Records as columns: which are `plain`, uint8 (k,), their times, texts (t, 2, k) as spans, and numbers (n, k)."""

    plain: NDArray[np.uint8]
    times: Positions
    spans: Positions
    numbers: NDArray[np.float64]


class Field(NamedTuple):
    """A field of an event type: kind `t` (text), `f` (flag), `n` (number) or `i` (the time), and what it may be."""

    name: str
    kind: str
    slot: int = 0
    required: bool = False
    nullable: bool = False
    not_empty: bool = False
    least: float = float("-inf")
    most: float = float("inf")
    words: Sequence[str] = ()

    def described(self) -> bytes:
        """The field as the library reads it."""
        flags = self.required | self.nullable << 1 | self.not_empty << 2
        head = struct.pack("<cBH", self.kind.encode(), flags, self.slot) + _sized(self.name)
        if self.kind == "n":
            return head + struct.pack("<dd", self.least, self.most)
        if self.kind == "t":
            return head + struct.pack("<H", len(self.words)) + b"".join(map(_sized, self.words))
        return head


@cache
def load() -> Any | None:
    """The library; None where it was not built from this code."""
    try:
        library = ctypes.PyDLL(__file__.removesuffix("library.py") + FILE_NAME)
        for name, (result, arguments) in _ARGUMENTS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):  # missing, or built from older code
        return None
    return library


class EventReader:
    """Reads records of one event type."""

    def __init__(self, library: Any, fields: Sequence[Field]) -> None:
        """Compile the fields, at most `MOST_FIELDS`."""
        described = struct.pack("<H", len(fields)) + b"".join([field.described() for field in fields])
        schema = library.event_schema_new(described, len(described))
        assert schema, "the library reads what it is described"
        self._library, self._schema = library, schema
        self._texts = sum(field.kind in "tf" for field in fields)
        self._numbers = sum(field.kind == "n" for field in fields)
        weakref.finalize(self, library.event_schema_free, schema)

    def read(self, values: Spans) -> Columns:
        """Columns of records; those that are not plain have no values in them."""
        count = len(values.starts)
        columns = Columns(
            np.empty(count, dtype=np.uint8),
            np.empty(count, dtype=np.int64),
            np.empty((self._texts, 2, count), dtype=np.int64),
            np.empty((self._numbers, count), dtype=np.float64),
        )
        self._library.events_read(self._schema, *span_arguments(values), *[address(column) for column in columns])
        return columns


class RowCache:
    """The row of each account id, as it is written in records."""

    def __init__(self, library: Any) -> None:
        """Nothing is known."""
        self._library, self._rows = library, library.rows_new()
        weakref.finalize(self, library.rows_free, self._rows)

    def put(self, names: Spans, rows: Positions) -> None:
        """Remember rows, int64 (k,), of ids; one that is negative is not remembered."""
        self._library.rows_put(self._rows, *span_arguments(names), address(rows))

    def forget(self, name: str) -> None:
        """Forget the row of an id."""
        encoded = name.encode()
        self._library.rows_forget(self._rows, encoded, len(encoded))

    def get(self, names: Spans) -> tuple[Positions, int]:
        """The row of each id, int64 (k,), -1 where it is not known, and how many are not."""
        rows = np.empty(len(names.starts), dtype=np.int64)
        return rows, self._library.rows_get(self._rows, *span_arguments(names), address(rows))


def hash_texts(library: Any, texts: Spans) -> NDArray[np.uint64]:
    """XXH3-64 of each text without white space at its ends, uint64 (k,); 0 for none and for blank ones."""
    hashes = np.empty(len(texts.starts), dtype=np.uint64)
    library.texts_hash(*span_arguments(texts), address(hashes))
    return hashes


def match_texts(library: Any, texts: Spans, words: Sequence[str]) -> Positions:
    """Which of the words each text is, counted from 1, int64 (k,); 0 for any other and for none."""
    encoded = [word.encode() for word in words]
    joined, ends = b"".join(encoded), np.cumsum(list(map(len, encoded)), dtype=np.int64)
    codes = np.empty(len(texts.starts), dtype=np.int64)
    library.texts_match(*span_arguments(texts), joined, len(joined), address(ends), len(encoded), address(codes))
    return codes


def index_records(library: Any, batches: Spans, wanted: Positions, capacity: int) -> Positions | None:
    """Where the records of batches of Kafka's format v2 lie in their buffer, int64 (9, k), by ascending offset.

    Rows: offset, time, kind of time (1: of the broker), start and end of key, of value, and of headers with their
    number before them; -1 where there is none. `wanted` has the first offset that is wanted of each batch, and
    `capacity` how many records they say that they have. None if the batches are not as the format has them.
    """
    columns = np.empty((_RECORD_COLUMNS, capacity), dtype=np.int64)
    buffer, length, starts, ends, count = span_arguments(batches)
    assert wanted.dtype == np.int64, wanted.dtype
    assert wanted.flags.c_contiguous, "the library reads memory from its beginning"
    assert len(wanted) == count, "a first offset for each batch"
    written = library.records_index(buffer, length, starts, ends, address(wanted), count, address(columns), capacity)
    return None if written < 0 else columns[:, :written]


def span_arguments(texts: Spans) -> tuple[Any, ...]:
    """Texts as the library takes them: buffer and length, both ends of each, and how many there are."""
    for positions in (texts.starts, texts.ends):
        assert positions.dtype == np.int64, positions.dtype
        assert positions.flags.c_contiguous, "the library reads memory from its beginning"
    assert len(texts.starts) == len(texts.ends), "each text has both ends"
    return texts.buffer, len(texts.buffer), address(texts.starts), address(texts.ends), len(texts.starts)


def address(array: NDArray[Any]) -> int:
    """Where the first entry of an array is."""
    return int(array.ctypes.data)


def _sized(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<H", len(encoded)) + encoded
