"""`value`, `days_since`, `days_until`: a number of the account's profile, or the days from or to a date in it.

Formula: `value = field`, `days_since = day(as_of) - day(field)`, `days_until = day(field) - day(as_of)`; missing when
the profile does not have the field. Days are UTC. Definition: docs/reference/policy/measures.md#profile-fields.

>>> measure = 'source = "accounts", stat = "days_until", field = "renewal_at"'
>>> value_of(measure, profile(renewal_at="2026-03-31T00:00:00Z"))
3.0
>>> value_of('source = "accounts", stat = "value", field = "arr"', profile(arr=12_000))
12000.0
>>> value_of('source = "accounts", stat = "value", field = "arr"', profile())
nan
>>> value_of('source = "accounts", stat = "value", field = "account.seats"', profile(seats="40"))
40.0
>>> value_of('source = "accounts", stat = "days_since", field = "account.trained"', profile(trained="2026-03-01"))
27.0
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.columns.facts import FactColumn
from stream.measures.base import AnyColumn, Need
from stream.policy.fields import ACCOUNT
from stream.policy.policy import Measure


class ProfileField:
    """A profile field as it is, or as days relative to the day of the score."""

    def __init__(self, days_sign: int = 0) -> None:
        """`days_sign` is 1 for days since the field, -1 for days until it, 0 for the number itself."""
        self._days_sign = days_sign

    def needs(self, measure: Measure) -> list[Need]:
        """The profile field; an attribute may be a number or a date, and is read as what the statistic needs."""
        is_date = bool(self._days_sign) and (measure.field or "").startswith(ACCOUNT)
        return [Need("date" if is_date else "fact", measure.field, ())]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """Days or the number, float64 (k,); NaN where the profile does not have the field."""
        del measure
        column = columns[0]
        assert isinstance(column, FactColumn)
        assert column.newest is not None
        values = column.values[rows]
        return values if not self._days_sign else self._days_sign * (column.newest - values)
