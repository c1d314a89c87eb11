"""How many different ones: users who took part, features in use (depth)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.columns.members import Members
from stream.measures.base import AnyColumn, Need
from stream.policy.policy import Measure


class Distinct:
    """Distinct values of one text field."""

    def __init__(self, field: str) -> None:
        """Name the field."""
        self.field = field

    def needs(self, measure: Measure) -> list[Need]:
        """The field's members."""
        return [Need("members", self.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """Distinct members in the window."""
        column = columns[0]
        assert isinstance(column, Members)
        return column.read(rows, measure.window.panes)
