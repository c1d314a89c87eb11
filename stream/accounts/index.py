"""The account index: which row of the arrays each account of a partition has.

Owns account ids, their hashes and row numbers; rows are numbered 0, 1, 2, ... in the order of first use.
An account keeps its row until it is erased; then the row is free for another one. White space at the ends of an id is
not a part of it. A part of `stream.accounts.accounts.Accounts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress, repeat

import numpy as np

from schemas.event_columns import EventColumns
from schemas.events import Event
from schemas.native.library import RowCache
from stream.columns.columns import Rows
from stream.columns.hash_index import Hashes, hash_ids

ELSEWHERE = -1
"""Instead of a row: the account belongs to another partition."""
BLANK = -2
"""Instead of a row: the id names no account."""


class AccountIndex(dict[str, int]):
    """Account id to row, also as it is written with white space at its ends. A new id gets a free row."""

    def __init__(self, owns: Callable[[str], bool]) -> None:
        """Empty; `owns` says whether an account id hashes to this partition."""
        super().__init__()
        self.names: list[str] = []
        """Account id of each row; empty for a free row."""
        self._free: list[int] = []
        self._aliases: dict[int, list[str]] = {}
        """How accounts are also written, by row."""
        self.owns = owns
        """Whether an account belongs to this partition."""
        self._hashes: Hashes = np.zeros(0, dtype=np.uint64)
        self._hashed = 0
        self._cache: RowCache | None = None
        """Rows of account ids as they are written in events that are read as columns."""

    def __missing__(self, account: str) -> int:
        """The row of a new account, or of a known one that is written in another way."""
        trimmed = account.strip()
        if not trimmed:
            return BLANK
        if trimmed != account:
            row = self[trimmed]
            if row >= 0:
                self[account] = row
                self._aliases.setdefault(row, []).append(account)
            return row
        if not self.owns(account):
            return ELSEWHERE
        if self._free:
            row = self._free.pop()
            self.names[row] = account
            if row < self._hashed:
                self._hashes[row] = hash_ids([account])[0]
        else:
            row = len(self.names)
            self.names.append(account)
        self[account] = row
        return row

    def release(self, row: int) -> None:
        """Forget the account of a row, whose state must be empty."""
        for name in (self.names[row], *self._aliases.pop(row, ())):
            del self[name]
            if self._cache is not None:
                self._cache.forget(name)
        self.names[row] = ""
        self._free.append(row)

    def keys_of(self, rows: Rows) -> list[bytes]:
        """Record key (the account id in UTF-8) of each row."""
        return list(map(str.encode, map(self.names.__getitem__, rows.tolist())))

    def rows_of_saved(self, accounts: Sequence[str]) -> Rows:
        """Row of each account, int64 (k,), as a changelog names them: they belong here, and new ones get a row."""
        if self:
            rows = np.fromiter(map(self.get, accounts, repeat(ELSEWHERE)), dtype=np.int64, count=len(accounts))
            new = dict.fromkeys(compress(accounts, rows == ELSEWHERE))
            if not new:
                return rows
        else:
            new = dict.fromkeys(accounts)
        first, end = len(self.names), len(self.names) + len(new)
        self.update(zip(new, range(first, end), strict=True))
        self.names.extend(new)
        return np.arange(first, end) if len(new) == len(accounts) else self.rows(accounts)

    def rows(self, accounts: Sequence[str]) -> Rows:
        """Row of each account id, int64 (k,); `ELSEWHERE` or `BLANK` where it has none."""
        return np.fromiter(map(self.__getitem__, accounts), dtype=np.int64, count=len(accounts))

    def rows_of(self, events: Sequence[Event]) -> Rows:
        """Row of the account of each event, int64 (k,); `ELSEWHERE` or `BLANK` where it has none."""
        if not isinstance(events, EventColumns):
            return self.rows([event.account_id for event in events])
        if self._cache is None:
            self._cache = RowCache(events.library)
        names = events.texts("account_id")
        rows, unknown = self._cache.get(names)
        if unknown:
            indexes = np.flatnonzero(rows < 0)
            new = names.take(indexes)
            of_others = (events.others[index].account_id for index in sorted(events.others))
            rows[indexes] = self.rows([next(of_others) if name is None else name for name in new.texts()])
            self._cache.put(new, rows[indexes])
        return rows

    def hashes_of(self, rows: Rows) -> Hashes:
        """Stable hash of the account of each row, uint64 (k,)."""
        count = len(self.names)
        if self._hashed < count:
            if len(self._hashes) < count:
                larger = np.zeros(count * 3 // 2, dtype=np.uint64)
                larger[: self._hashed] = self._hashes[: self._hashed]
                self._hashes = larger
            self._hashes[self._hashed : count] = hash_ids(self.names[self._hashed :])
            self._hashed = count
        return self._hashes[rows]
