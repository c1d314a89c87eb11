"""The rows among the records of a changelog, by row schema, to be read some at a time.

Owns how the values of rows become arrays and texts. Nothing is decoded for all accounts at once: the copy would be as
large as the records and the arrays that they are read into. Called by `stream.recovery.changelog` and
`stream.recovery.history`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.columns.row_schema import HEADER_BYTES, RowSchema, RowSchemaError, row_schema_of
from stream.recovery.listing import Listing

_ROWS_AT_ONCE = 4096
"""They stay in the caches of a processor."""
_MOMENTS = ("as_of", "passed")
"""Fields with a time whose latest value a restore needs before it reads rows, beside the clocks of sources."""
_CLOCK = "clock/"
_EARLIEST = np.iinfo(np.int64).min


class RowsAtOnce(NamedTuple):
    """Some rows of a schema, from the index `begin` on: what has a fixed width, (k,), and the texts behind it."""

    begin: int
    record: np.ndarray[tuple[int], np.dtype[np.void]]
    texts: list[tuple[int, bytes]]
    """Index of the row, and its texts, where it has any."""


class SavedRows:
    """All rows of one schema, at least one."""

    def __init__(self, row_schema: RowSchema, listing: Listing) -> None:
        """The rows that are listed. Raises `RowSchemaError` when one of them is cut."""
        self.row_schema = row_schema
        self._listing = listing
        self.accounts = listing.names(1)
        width, shortest = row_schema.dtype.itemsize, int(listing.lengths.argmin())
        if listing.lengths[shortest] < width:
            account = self.accounts[shortest]
            msg = f"changelog row of account {account!r}: it is cut: {listing.lengths[shortest]} bytes, not {width}"
            raise RowSchemaError(msg)
        self.latest: dict[str, int] = {}
        """The latest time (epoch ms) of each field: `as_of`, `passed` and `clock/…`, as far as the schema has it."""
        self.latest_with_events: dict[str, int] = {}
        """The same of the accounts that have an event: others may be older than the policy, and miss nothing."""
        head = _head_of(row_schema.dtype)
        for begin in range(0, len(self.accounts), _ROWS_AT_ONCE):
            heads = listing.heads(head.itemsize, begin, begin + _ROWS_AT_ONCE).view(head)
            _follow(self.latest, heads)
            _follow(self.latest_with_events, heads[heads["applied"] > 0])

    @property
    def has_events(self) -> bool:
        """Whether any of the accounts has an event."""
        return bool(self.latest_with_events)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the fields."""
        return self.row_schema.dtype.names or ()

    def clocks(self, sources: Sequence[str]) -> dict[str, int]:
        """The latest clock (epoch ms) of each of these sources that the rows have a clock of."""
        return {source: self.latest[_CLOCK + source] for source in sources if _CLOCK + source in self.latest}

    def saved_ms(self, source: str) -> int | None:
        """The latest clock (epoch ms) of a source among accounts with events; None if the rows have no clock of it."""
        return self.latest_with_events.get(_CLOCK + source)

    def read(self) -> Iterator[RowsAtOnce]:
        """All rows in order, some at a time."""
        dtype, listing = self.row_schema.dtype, self._listing
        longer = np.flatnonzero(listing.lengths > dtype.itemsize)
        for begin in range(0, len(self.accounts), _ROWS_AT_ONCE):
            end = begin + _ROWS_AT_ONCE
            mine = longer[np.searchsorted(longer, begin) : np.searchsorted(longer, end)]
            texts = list(zip(mine.tolist(), listing.tails(dtype.itemsize, mine), strict=True))
            yield RowsAtOnce(begin, listing.heads(dtype.itemsize, begin, end).view(dtype), texts)


def _head_of(row: np.dtype[np.void]) -> np.dtype[np.void]:
    """The fields `applied`, of moments and of clocks: their type as the beginning of a row, up to the last of them."""
    fields = {
        name: field
        for name, field in (row.fields or {}).items()
        if name == "applied" or name in _MOMENTS or name.startswith(_CLOCK)
    }
    kinds, offsets = [field[0] for field in fields.values()], [field[1] for field in fields.values()]
    size = max(offset + kind.itemsize for kind, offset in zip(kinds, offsets, strict=True))
    return np.dtype({"names": list(fields), "formats": kinds, "offsets": offsets, "itemsize": size})


def _follow(latest: dict[str, int], heads: np.ndarray[tuple[int], np.dtype[np.void]]) -> None:
    """Bring the latest times up to those of more rows."""
    for name in heads.dtype.names or () if len(heads) else ():
        if name != "applied":
            latest[name] = max(int(heads[name].max()), latest.get(name, _EARLIEST))


def rows_by_schema(listing: Listing, row_schemas: dict[bytes, RowSchema]) -> list[SavedRows]:
    """The rows that are listed. Raises `RowSchemaError` when the schema of one is missing, or it is cut."""
    if not len(listing):
        return []
    short = np.flatnonzero(listing.lengths < HEADER_BYTES)
    if len(short):
        first = int(short[0])
        _schema_of(listing.value(first), listing.key(first), row_schemas)
    headers = listing.heads(HEADER_BYTES)
    of_schema = [headers == header for header in _distinct(headers)]
    return [
        SavedRows(_schema_of(headers[first].tobytes(), listing.key(first), row_schemas), listing.select(chosen))
        for chosen in of_schema
        for first in (int(chosen.argmax()),)
    ]


def _distinct(headers: NDArray[np.void]) -> list[np.void]:
    """Each header once, in the order in which they come."""
    if (headers == headers[0]).all():
        return [headers[0]]
    return [headers[first] for first in sorted(np.unique(headers, return_index=True)[1].tolist())]


def _schema_of(header: bytes, key: bytes, row_schemas: dict[bytes, RowSchema]) -> RowSchema:
    """The schema that the header of the row with this key names."""
    try:
        return row_schema_of(header, row_schemas)
    except RowSchemaError as error:
        account = key[1:].decode()
        msg = f"changelog row of account {account!r}: {error}"
        raise RowSchemaError(msg) from error
