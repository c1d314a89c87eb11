"""Facts: a number of each account's profile, as a column beside those of events.

Owns the number and the day that dates are counted from. Called by `stream.accounts.accounts` (write), `stream.measures`
(read) and `stream.engine.scorer` (advance).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stream.columns.calendar import UTC_DAYS, Calendar
from stream.columns.columns import Rows
from stream.columns.growth import stretch
from stream.columns.panes import Unit


class FactColumn:
    """A number of each row's profile. `Accounts.set_profile` writes it; not saved, since the profile itself is."""

    def __init__(
        self,
        name: str,
        *,
        as_day: bool = False,
        where: tuple[Any, ...] = (),
        empty: float = np.nan,
        calendar: Calendar = UTC_DAYS,
    ) -> None:
        """`name` is the profile field; `as_day` says that an attribute is read as a date, not as a number.

        With `where`, the number says whether these conditions hold. `empty` is that of an account without a profile.
        """
        self.name, self.as_day, self.where, self.empty = name, as_day, where, empty
        self.calendar = calendar
        self.unit: Unit = "day"
        self.newest: int | None = None
        self.values = np.full(0, np.nan)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self.values = stretch(self.values, capacity, self.empty)

    def advance(self, as_of_ms: int) -> None:
        """Set the day that days since and until a date are counted from."""
        self.newest = self.calendar.pane_of(as_of_ms, "day")

    def excerpt(self, rows: Rows) -> FactColumn:
        """A copy with only `rows`, renumbered from 0."""
        copy = FactColumn(self.name, as_day=self.as_day, where=self.where, empty=self.empty, calendar=self.calendar)
        copy.newest, copy.values = self.newest, self.values[rows]
        return copy

    def clear(self, row: int) -> None:
        """Forget the number of a row."""
        self.values[row] = self.empty

    def nbytes(self) -> int:
        """Bytes of memory of the arrays."""
        return int(self.values.nbytes)
