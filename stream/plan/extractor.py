"""Extract from the events of one source what its columns aggregate: filters as masks, fields as arrays of amounts.

Owns the step from decoded events to numpy arrays, compiled once per policy and source. Keeps no state of accounts.
Called by `stream.ingest.aggregation` for each batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from schemas.event_columns import EventColumns
from schemas.events import Event
from stream.columns.columns import MILLIONTHS
from stream.columns.hash_index import HashCache, Hashes
from stream.columns.things import thing_keys
from stream.plan.column_fields import ColumnFields
from stream.plan.fields import Amounts, Fields, Texts, Vocabulary
from stream.plan.plan import Plan
from stream.policy.filters import parts_of


@dataclass(slots=True)
class ColumnInput:
    """What one column aggregates of a batch of k events.

    `column` is its index in the plan. `mask` (k,) selects the events that pass the column's filter, None for all.
    `amounts` (k,) are numbers, whole millionths for a sum and for weights, the hashes of members or the keys of
    things; None for a count or a time.
    """

    column: int
    mask: NDArray[np.bool_] | None
    amounts: Amounts | Hashes | None


class Extractor:
    """Turns the events of one source into the inputs of its columns.

    Each text that the policy names has a small code, so that a filter is a table look-up.
    """

    def __init__(self, plan: Plan, source: str) -> None:
        """Prepare the look-up tables of one source."""
        self._columns = [(index, column) for index, column in enumerate(plan.columns) if column.source == source]
        self._vocabularies: dict[str, Vocabulary] = {}
        for _, column in self._columns:
            for condition in (*column.need.where, *column.need.of):
                field, operator, operand = parts_of(condition)
                if operator in {"in", "not"}:
                    self._vocabulary(field).update_with(cast("Texts", operand))
            if column.need.weights is not None:
                self._vocabulary(cast("str", column.need.field)).update_with([text for text, _ in column.need.weights])
        self._hashes = HashCache()
        self._source = plan.sources[source]

    def _vocabulary(self, field: str) -> Vocabulary:
        return self._vocabularies.setdefault(field, Vocabulary())

    def _fields(self, events: Sequence[Event]) -> Fields:
        fields = Fields(events, self._vocabularies, self._hashes, self._source)
        return ColumnFields(events, fields) if isinstance(events, EventColumns) else fields

    def extract(self, events: Sequence[Event]) -> list[ColumnInput]:
        """The input of each column of this source."""
        fields = self._fields(events)
        inputs = []
        for index, column in self._columns:
            need = column.need
            mask: NDArray[np.bool_] | None = None
            for condition in need.where:
                passes = fields.passes(condition)
                mask = passes if mask is None else mask & passes
            amounts: Amounts | Hashes | None = None
            if need.kind == "members":
                amounts = fields.hashes(cast("str", need.field))
            elif need.kind in {"things", "latest-things"}:
                hashes = fields.hashes(cast("str", need.field))
                mask = hashes != 0 if mask is None else mask & (hashes != 0)
                amounts = thing_keys(hashes, np.all([fields.passes(condition) for condition in need.of], axis=0))
            elif need.weights is not None:
                field = cast("str", need.field)
                unlisted = -np.inf if need.kind == "latest" else 0.0
                amounts = self._vocabularies[field].weights(need.weights, unlisted)[fields.codes(field)]
                if need.kind == "latest":
                    exists = fields.passes((field, "exists", True))
                    mask = exists if mask is None else mask & exists
            elif need.field is not None:
                numbers = fields.numbers(need.field)
                absent = np.isnan(numbers)
                if np.count_nonzero(absent):
                    mask = ~absent if mask is None else mask & ~absent
                amounts = np.rint(numbers * MILLIONTHS) if need.kind == "sum" else numbers
                amounts = None if need.kind == "count" else amounts
            inputs.append(ColumnInput(index, mask, amounts))
        return inputs
