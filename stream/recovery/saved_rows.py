"""The rows among the records of a changelog, by row schema, to be read some at a time.

Owns how the values of rows become arrays and texts. Nothing is decoded for all accounts at once: the copy would be as
large as the records and the arrays that they are read into. Called by `stream.recovery.changelog` and
`stream.recovery.history`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from stream.columns.row_schema import RowSchema, RowSchemaError, header_of, row_schema_of

_ROWS_AT_ONCE = 2048
"""They stay in the caches of a processor."""
_MOMENTS = ("as_of", "passed")
"""Fields with a time whose latest value a restore needs before it reads rows, beside the clocks of sources."""
_CLOCK = "clock/"


class RowsAtOnce(NamedTuple):
    """Some rows: their accounts, what has a fixed width as an array (k,), and by index the texts that follow it."""

    accounts: list[str]
    record: np.ndarray[tuple[int], np.dtype[np.void]]
    texts: dict[int, bytes]


class SavedRows:
    """All rows of one schema, at least one."""

    def __init__(self, row_schema: RowSchema, accounts: list[str], values: list[bytes]) -> None:
        """`values` are the rows of `accounts`. Raises `RowSchemaError` when one of them is cut."""
        self.row_schema = row_schema
        self.accounts = accounts
        self._values = values
        self._width = row_schema.dtype.itemsize
        shortest = min(values, key=len)
        if len(shortest) < self._width:
            account = accounts[values.index(shortest)]
            msg = f"changelog row of account {account!r}: it is cut: {len(shortest)} bytes, not {self._width}"
            raise RowSchemaError(msg)
        heads = self._heads()
        with_events = heads["applied"] > 0
        self.has_events = bool(with_events.any())
        """Whether any of the accounts has an event."""
        moments = [name for name in heads.dtype.names or () if name != "applied"]
        self.latest = {name: int(heads[name].max()) for name in moments}
        """The latest time (epoch ms) of each field: `as_of`, `passed` and `clock/…`, as far as the schema has it."""
        self.latest_with_events = {name: int(heads[name][with_events].max()) for name in moments if self.has_events}
        """The same of the accounts that have an event: others may be older than the policy, and miss nothing."""

    def _heads(self) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        """The fields `applied`, of moments and of clocks, of all rows: of each the bytes up to the last."""
        fields = {
            name: field
            for name, field in (self.row_schema.dtype.fields or {}).items()
            if name == "applied" or name in _MOMENTS or name.startswith(_CLOCK)
        }
        size = max(offset + kind.itemsize for kind, offset, *_ in fields.values())
        head = np.dtype(
            {
                "names": list(fields),
                "formats": [kind for kind, *_ in fields.values()],
                "offsets": [offset for _, offset, *_ in fields.values()],
                "itemsize": size,
            }
        )
        return np.frombuffer(b"".join([value[:size] for value in self._values]), dtype=head)

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
        for begin in range(0, len(self._values), _ROWS_AT_ONCE):
            values = self._values[begin : begin + _ROWS_AT_ONCE]
            width = self._width
            texts = {index: value[width:] for index, value in enumerate(values) if len(value) > width}
            fixed = b"".join([value[:width] for value in values] if texts else values)
            record = np.frombuffer(fixed, dtype=self.row_schema.dtype)
            yield RowsAtOnce(self.accounts[begin : begin + _ROWS_AT_ONCE], record, texts)


def rows_by_schema(
    records: Mapping[bytes, bytes], keys: list[bytes], row_schemas: dict[bytes, RowSchema]
) -> list[SavedRows]:
    """The rows with these keys. Raises `RowSchemaError` when the schema of one is missing, or it is cut."""
    by_header: dict[bytes, list[bytes]] = {}
    for key in keys:
        by_header.setdefault(header_of(records[key]), []).append(key)
    rows = []
    for header, row_keys in by_header.items():
        try:
            row_schema = row_schema_of(header, row_schemas)
        except RowSchemaError as error:
            msg = f"changelog row of account {row_keys[0][1:].decode()!r}: {error}"
            raise RowSchemaError(msg) from error
        accounts = [key[1:].decode() for key in row_keys]
        rows.append(SavedRows(row_schema, accounts, list(map(records.__getitem__, row_keys))))
    return rows
