"""The interface of a statistic: which columns it needs, and how it reads its value out of them.

Owns `Need`, `Stat` and `FallbackStat`, and the reading of pane columns that statistics share. Called by the statistics
of this package, `stream.plan.plan` and `stream.scoring.measure_values`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.columns.calendar import latest_months
from stream.columns.columns import LatestColumn, PaneColumn, Rows
from stream.columns.facts import FactColumn
from stream.columns.members import Members
from stream.columns.things import Things
from stream.policy.filters import Filter
from stream.policy.policy import Measure

Kind = Literal[
    "count",
    "sum",
    "min",
    "max",
    "latest",
    "first",
    "members",
    "things",
    "latest-things",
    "histogram",
    "fact",
    "date",
    "match",
]
AnyColumn = PaneColumn | LatestColumn | Members | Things | FactColumn


class Need(NamedTuple):
    """A column that a statistic needs: its kind, the event field it reads (None: the event itself), filter, weights.

    A `fact` is a number of the profile, or the day of `started_at` and `renewal_at`; a `date` the day of an attribute;
    a `match` says whether conditions on texts of the profile hold. `things` that pass `of` are open; of `latest-things`
    it is not known since when.

    Measures whose needs are equal share one column.
    """

    kind: Kind
    field: str | None
    where: Filter
    weights: tuple[tuple[str, float], ...] | None = None
    of: Filter = ()


class Stat(Protocol):
    """A statistic. It has no state: one object serves all measures."""

    def needs(self, measure: Measure) -> list[Need]:
        """The columns that `read` is given, in this order."""

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The measure's value over its window, float64 (k,) for rows (k,); NaN where there is none."""


class FallbackStat(Stat, Protocol):
    """A statistic that can fall back to an older value, for `missing = "hold"` with `stale_after`."""

    def read_before_window(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The value of the newest pane with events, at most `stale_after` panes old, float64 (k,); NaN without."""


def read_total(column: AnyColumn, rows: Rows, measure: Measure) -> NDArray[np.float64]:
    """Count, millionths or extreme of each row over the measure's window, float64 (k,).

    The one place that decides about the current pane for all statistics that read panes.
    """
    if measure.window.counted is not None:
        return pane_column(column).read_panes(rows, counted_days(column, measure))
    if measure.current_pane == "at-least":
        return pane_column(column).read_at_least(rows, measure.window.panes)
    return pane_column(column).read(rows, measure.window.panes, measure.skip)


def counted_days(column: AnyColumn, measure: Measure) -> NDArray[np.int64]:
    """The days (since 1970) of a window in business days or months, newest first, int64 (m,)."""
    newest, count = pane_column(column).newest, measure.window.counted
    assert newest is not None
    assert count is not None
    if measure.window.unit == "month":
        return latest_months(newest, count, complete=measure.skip == 1)
    return column.calendar.latest_business_days(newest - measure.skip, count)


def last_pane_before_window(column: PaneColumn, rows: Rows, measure: Measure) -> NDArray[np.int64]:
    """How many panes before the newest the last pane with events before the window is, int64 (k,); -1 without."""
    return column.last_pane(rows, measure.window.panes + measure.skip, measure.reach)


def ratio_of_totals(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numerator / denominator, float64 (k,); NaN where the denominator is 0."""
    positive = denominator > 0
    if np.count_nonzero(positive) == len(positive):
        return numerator / denominator
    nothing = np.full(len(numerator), np.nan)
    ratio: NDArray[np.float64] = np.divide(numerator, denominator, out=nothing, where=positive)
    return ratio


def pane_column(column: AnyColumn) -> PaneColumn:
    """The column as a ring of panes; any other kind is a mistake of the plan."""
    assert isinstance(column, PaneColumn)
    return column


def latest_column(column: AnyColumn) -> LatestColumn:
    """The column as a latest event; any other kind is a mistake of the plan."""
    assert isinstance(column, LatestColumn)
    return column
