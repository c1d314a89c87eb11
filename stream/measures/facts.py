"""What the profile says: days since and until a date of it, a number of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import FactColumn, Rows
from stream.measures.base import AnyColumn, Need
from stream.policy.policy import Measure


class Fact:
    """A number of the profile as it is, or a day of it seen from the day of the score."""

    def __init__(self, days: int = 0) -> None:
        """`days` is 1 for days since, -1 for days until, 0 for the number itself."""
        self._days = days

    def needs(self, measure: Measure) -> list[Need]:
        """The field."""
        return [Need("fact", measure.field, ())]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """Days or the number; NaN where the profile lacks it."""
        del measure
        column = columns[0]
        assert isinstance(column, FactColumn)
        assert column.newest is not None
        values = column.values[rows]
        return values if not self._days else self._days * (column.newest - values)
