"""`distinct`: the number of distinct values of a text field, such as `currency`.

`distinct_users`, `distinct_features` and `distinct_roles` are `distinct` of `user_id`, `feature` and `role`.

Formula: `distinct = |{e.field: e in window}|`, exact; 0 without events.
Definition: docs/reference/policy/measures.md#statistics; `COUNT(DISTINCT field)` of SQL.

>>> events = [days_ago(day, user_id=user) for day, user in [(0, "ann"), (1, "bob"), (2, "ann"), (9, "cy")]]
>>> value_of('source = "product-usage", stat = "distinct_users", window = "7d"', *events)
2.0
>>> value_of('source = "product-usage", stat = "distinct", field = "user_id", window = "10d"', *events)
3.0
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.columns.members import Members
from stream.measures.base import AnyColumn, Need
from stream.policy.policy import Measure


class Distinct:
    """The number of distinct values of one text field in the window."""

    def __init__(self, field: str | None = None) -> None:
        """`field` is the text field; None: that of the measure."""
        self.field = field

    def needs(self, measure: Measure) -> list[Need]:
        """The distinct members of the field."""
        return [Need("members", self.field or measure.field, measure.where)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The number of distinct members, float64 (k,)."""
        column = columns[0]
        assert isinstance(column, Members)
        return column.read(rows, measure.window.panes)
