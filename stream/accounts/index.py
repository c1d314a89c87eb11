"""The account index: which row of the arrays each account of a partition has.

Owns account ids, their record keys and row numbers; rows are numbered 0, 1, 2, ... in the order of first use. An
account keeps its row until it is erased; then the row is free for another one. A part of
`stream.accounts.accounts.Accounts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stream.columns.columns import Rows


class AccountIndex(dict[str, int]):
    """Account id to row. A new id gets a free row, or -1 when the account belongs to another partition."""

    def __init__(self, owns: Callable[[str], bool]) -> None:
        """Empty; `owns` says whether an account id hashes to this partition."""
        super().__init__()
        self.names: list[str] = []
        """Account id of each row; empty for a free row."""
        self._keys: list[bytes] = []
        self._free: list[int] = []
        self.owns = owns
        """Whether an account belongs to this partition."""

    def __missing__(self, account: str) -> int:
        """The row of a new account."""
        if not self.owns(account):
            return -1
        if self._free:
            row = self._free.pop()
            self.names[row], self._keys[row] = account, account.encode()
        else:
            row = len(self.names)
            self.names.append(account)
            self._keys.append(account.encode())
        self[account] = row
        return row

    def release(self, row: int) -> None:
        """Forget the account of a row, whose state must be empty."""
        del self[self.names[row]]
        self.names[row], self._keys[row] = "", b""
        self._free.append(row)

    def keys_of(self, rows: Rows) -> list[bytes]:
        """Record key (the account id in UTF-8) of each row."""
        return list(map(self._keys.__getitem__, rows.tolist()))

    def rows_of_keys(self, keys: Sequence[bytes]) -> Rows:
        """Row of each account by record key, int64 (k,); all of them belong to this partition, new ones get a row."""
        accounts = list(map(bytes.decode, keys))
        new = {account: key for account, key in zip(accounts, keys, strict=True) if account not in self}
        first = len(self.names)
        self.update(zip(new, range(first, first + len(new)), strict=True))
        self.names.extend(new)
        self._keys.extend(new.values())
        return self.rows(accounts)

    def rows(self, accounts: Sequence[str]) -> Rows:
        """Row of each account id, int64 (k,)."""
        return np.fromiter(map(self.__getitem__, accounts), dtype=np.int64, count=len(accounts))
