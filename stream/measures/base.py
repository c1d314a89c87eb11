"""What a statistic is: the columns it needs and how it reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import FactColumn, LatestColumn, PaneColumn, Rows
from stream.columns.members import Members
from stream.policy.policy import Measure

Kind = Literal["count", "sum", "min", "max", "latest", "members", "fact"]
Where = tuple[tuple[str, tuple[str, ...]], ...]
AnyColumn = PaneColumn | LatestColumn | Members | FactColumn


class Need(NamedTuple):
    """One column: its kind, the field it takes (None: the event itself), its filter and weights by text."""

    kind: Kind
    field: str | None
    where: Where
    weights: tuple[tuple[str, float], ...] | None = None


class Stat(Protocol):
    """A statistic."""

    def needs(self, measure: Measure) -> list[Need]:
        """The columns that `read` is given, in this order."""

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The measure's value of each row over its window, float64 (k,); NaN where there is none."""


class HeldStat(Stat, Protocol):
    """A statistic whose value can outlast its window."""

    def held(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The value over the newest pane between the window and `stale_after` that has one, float64 (k,), or NaN."""


def pane_column(column: AnyColumn) -> PaneColumn:
    """The column as a ring of panes; anything else is a mistake of the plan."""
    assert isinstance(column, PaneColumn)
    return column
