"""Statistics of other packages: a function of the panes of the window, each account's for itself.

Owns how the panes of columns become the arrays that such a statistic is given. Called by `stream.measures.stat_of`.
Definition: docs/reference/policy/measures.md#statistics-of-other-packages.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import MILLIONTHS, Rows
from stream.measures.base import AnyColumn, Need, pane_column
from stream.policy.own.statistic import OwnStatistic
from stream.policy.policy import Measure


class OwnReader:
    """Gives the panes of the window to the statistic of another package."""

    def needs(self, measure: Measure) -> list[Need]:
        """A ring of panes for each value that the statistic reads: those that `count`, `sum`, `min` and `max` need."""
        return [Need(kind, measure.field, measure.where) for kind in _own(measure).reads]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """What the statistic makes of the panes, float64 (k,); NaN where it has no value."""
        own = _own(measure)
        panes: dict[str, NDArray[np.float64]] = {
            kind: _panes(column, rows, measure, kind) for kind, column in zip(own.reads, columns, strict=True)
        }
        return own.value(panes, len(rows))


def _own(measure: Measure) -> OwnStatistic:
    assert measure.own is not None
    return measure.own


def _panes(column: AnyColumn, rows: Rows, measure: Measure, kind: str) -> NDArray[np.float64]:
    values = pane_column(column).read_each(rows, measure.window.panes, measure.skip)
    if kind in {"min", "max"}:
        values = np.where(np.isfinite(values), values, np.nan)
    # In one order of memory, so that an account's value does not depend on how many are read at once.
    return np.ascontiguousarray(values / MILLIONTHS if kind == "sum" else values)
