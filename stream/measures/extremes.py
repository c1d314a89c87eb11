"""Smallest and largest value of a number field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.measures.base import AnyColumn, Need, pane_column
from stream.policy.policy import Measure


class Extreme:
    """Minimum or maximum over the window; no events, no value."""

    def __init__(self, which: Literal["min", "max"]) -> None:
        """Choose the end."""
        self.which = which

    def needs(self, measure: Measure) -> list[Need]:
        """A ring of extremes."""
        return [Need(self.which, measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The window's extreme, NaN without events."""
        value = pane_column(columns[0]).read(rows, measure.window.panes)
        return np.where(np.isfinite(value), value, np.nan)

    def held(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The extreme of the last pane with events."""
        column = pane_column(columns[0])
        ago = column.last_pane(rows, measure.window.panes, measure.reach)
        return np.where(ago < 0, np.nan, column.read_pane(rows, ago))
