"""`days_to_first`: UTC days from the beginning of an account to its first event that counts.

Formula: `days_to_first = day(first event that passes where) - day(beginning)`; missing until there is one. The
beginning is the account's first event of any source, or the date of the profile in `field`.
Definition: docs/reference/policy/measures.md#time-to-first; time to value (TTV) of product analytics.

>>> measure = 'source = "product-usage", stat = "days_to_first", where = { feature = ["export"] }'
>>> value_of(measure, days_ago(9), days_ago(7, feature="export"), days_ago(2, feature="export"))
2.0
>>> value_of(measure, days_ago(9), days_ago(7))
nan
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.columns.facts import FactColumn
from stream.columns.first import FirstColumn
from stream.measures.base import AnyColumn, Kind, Need
from stream.policy.fields import ACCOUNT
from stream.policy.policy import Measure

FIRST_EVENT = "first event"
"""The fact that is no field of the profile: the day of the account's first event (see `stream.accounts.accounts`)."""


class DaysToFirst:
    """UTC days from the beginning of an account to its first event that counts."""

    def needs(self, measure: Measure) -> list[Need]:
        """The first event, and the day that days are counted from."""
        beginning = measure.field or FIRST_EVENT
        kind: Kind = "date" if beginning.startswith(ACCOUNT) else "fact"
        return [Need("first", None, measure.where), Need(kind, beginning, ())]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """Days, below 0 where the event was before the beginning, float64 (k,); NaN without one of the two."""
        del measure
        first, beginning = columns
        assert isinstance(first, FirstColumn)
        assert isinstance(beginning, FactColumn)
        days: NDArray[np.float64] = first.days(rows) - beginning.values[rows]
        return days
