"""What came last: the value of the latest event, and how long ago it was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import LatestColumn, Rows
from stream.measures.base import AnyColumn, Need
from stream.policy.policy import Measure


class Last:
    """A field of the latest event by time; at equal times the largest value."""

    def needs(self, measure: Measure) -> list[Need]:
        """The latest event's field."""
        return [Need("latest", measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The value, NaN when the latest event lies before the window."""
        column = columns[0]
        assert isinstance(column, LatestColumn)
        return column.read(rows, measure.window.panes)[1]

    def held(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The value of the latest event, also of one before the window."""
        column = columns[0]
        assert isinstance(column, LatestColumn)
        return column.read(rows, measure.reach)[1]


class DaysSinceLast:
    """UTC days from the latest event to the moment of the score."""

    def needs(self, measure: Measure) -> list[Need]:
        """The latest event's time."""
        return [Need("latest", None, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """Days, NaN when the latest event lies before the window."""
        column = columns[0]
        assert isinstance(column, LatestColumn)
        return column.read(rows, measure.window.panes)[0]
