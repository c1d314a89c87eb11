"""The rows among the records of a changelog, by row schema, to be read some at a time.

Owns how the values of rows become arrays and texts. Nothing is decoded for all accounts at once: the copy would be as
large as the records and the arrays that they are read into. Called by `stream.recovery.changelog` and
`stream.recovery.history`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np

from stream.columns.row_schema import RowSchema, RowSchemaError, header_of, row_schema_of

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

    def __init__(self, row_schema: RowSchema) -> None:
        """Without rows, which `add` adds."""
        self.row_schema = row_schema
        self.accounts: list[str] = []
        self._values: list[bytes] = []
        self._head = _head_of(row_schema.dtype)
        self.latest: dict[str, int] = {}
        """The latest time (epoch ms) of each field: `as_of`, `passed` and `clock/…`, as far as the schema has it."""
        self.latest_with_events: dict[str, int] = {}
        """The same of the accounts that have an event: others may be older than the policy, and miss nothing."""

    def add(self, accounts: list[str], values: list[bytes]) -> None:
        """Add the rows of accounts. Raises `RowSchemaError` when one of them is cut."""
        width, shortest = self.row_schema.dtype.itemsize, min(values, key=len)
        if len(shortest) < width:
            account = accounts[values.index(shortest)]
            msg = f"changelog row of account {account!r}: it is cut: {len(shortest)} bytes, not {width}"
            raise RowSchemaError(msg)
        size = self._head.itemsize
        heads = np.frombuffer(b"".join([value[:size] for value in values]), dtype=self._head)
        _follow(self.latest, heads)
        _follow(self.latest_with_events, heads[heads["applied"] > 0])
        self.accounts += accounts
        self._values += values

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
        width = self.row_schema.dtype.itemsize
        for begin in range(0, len(self._values), _ROWS_AT_ONCE):
            values = self._values[begin : begin + _ROWS_AT_ONCE]
            texts = [(index, value[width:]) for index, value in enumerate(values, begin) if len(value) > width]
            fixed = b"".join([value[:width] for value in values] if texts else values)
            yield RowsAtOnce(begin, np.frombuffer(fixed, dtype=self.row_schema.dtype), texts)


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


def rows_by_schema(
    records: Mapping[bytes, bytes], keys: list[bytes], row_schemas: dict[bytes, RowSchema]
) -> list[SavedRows]:
    """The rows with these keys. Raises `RowSchemaError` when the schema of one is missing, or it is cut."""
    rows: dict[bytes, SavedRows] = {}
    for begin in range(0, len(keys), _ROWS_AT_ONCE):
        accounts = [key[1:].decode() for key in keys[begin : begin + _ROWS_AT_ONCE]]
        values = list(map(records.__getitem__, keys[begin : begin + _ROWS_AT_ONCE]))
        headers = list(map(header_of, values))
        for header in dict.fromkeys(headers):
            selected = [other == header for other in headers]
            of_schema = list(compress(accounts, selected))
            if header not in rows:
                rows[header] = SavedRows(_schema_of(header, of_schema[0], row_schemas))
            rows[header].add(of_schema, list(compress(values, selected)))
    return list(rows.values())


def _schema_of(header: bytes, account: str, row_schemas: dict[bytes, RowSchema]) -> RowSchema:
    """The schema that the header of an account's row names."""
    try:
        return row_schema_of(header, row_schemas)
    except RowSchemaError as error:
        msg = f"changelog row of account {account!r}: {error}"
        raise RowSchemaError(msg) from error
