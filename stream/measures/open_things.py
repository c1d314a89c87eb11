"""`open`, `open_max_days`, `open_mean_days`: things that are open now (tickets, invoices by id), and their age.

Formula: a thing is all events with one value of `field`. It is open if its latest event passes `of`; among events of
one time, one that does not pass `of` is the latest. `open = |open things|`. A thing is open since its first event after
the latest one that does not pass `of`: `age = day(as_of) - day(since)`. `open_max_days = max(age)` and
`open_mean_days = mean(age)` over the open things; missing without any.
Definition: docs/reference/policy/measures.md#open-things; the backlog and its age in ITIL's incident management.

>>> tickets = 'source = "support-tickets", field = "ticket_id", of = { status = { not = ["solved"] } }'
>>> events = [days_ago(300, ticket_id="a"), days_ago(9, ticket_id="b"), days_ago(2, ticket_id="b", status="solved")]
>>> value_of(tickets + ', stat = "open"', *events), value_of(tickets + ', stat = "open_max_days"', *events)
(1.0, 300.0)
>>> value_of(tickets + ', stat = "open_mean_days"', days_ago(4, ticket_id="a"), days_ago(1, ticket_id="b"))
2.5
>>> value_of(tickets + ', stat = "open_mean_days"', days_ago(4, status="solved"))
nan
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.columns.columns import Rows
from stream.columns.things import Things
from stream.measures.base import AnyColumn, Kind, Need, ratio_of_totals
from stream.policy.policy import Measure


class OpenThings:
    """How many things are open, or how old they are."""

    def __init__(self, stat: str) -> None:
        """`stat` is the name of the statistic."""
        self._stat = stat

    def needs(self, measure: Measure) -> list[Need]:
        """The things; in a window only the latest event of each."""
        kind: Kind = "latest-things" if measure.window.panes else "things"
        return [Need(kind, measure.field, measure.where, of=measure.of)]

    def read(self, measure: Measure, columns: Sequence[AnyColumn], rows: Rows) -> NDArray[np.float64]:
        """The number of things or days, float64 (k,); the age is NaN where nothing is open."""
        column = columns[0]
        assert isinstance(column, Things)
        things = column.read(rows, measure.window.panes or None)
        count = things.number.astype(np.float64)
        if self._stat == "open":
            return count
        if self._stat == "open_max_days":
            return np.where(count > 0, things.max_days, np.nan)
        return ratio_of_totals(things.sum_days.astype(np.float64), count)
