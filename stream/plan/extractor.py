"""Extract from the events of one source what its columns aggregate: filters as masks, fields as arrays of amounts.

Owns the step from decoded events to numpy arrays, compiled once per policy and source. Keeps no state of accounts.
Called by `stream.ingest.aggregation` for each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from schemas.events import Event
from stream.columns.columns import MILLIONTHS
from stream.columns.hash_index import HashCache, Hashes
from stream.plan.plan import Plan

NULL_NUMBERS = {"count": 1.0, "duration_s": 0.0, "amount": 0.0, "days_late": 0.0}
"""The value of an explicit null in fields that have a default; in any other number field the value is missing."""

Amounts = NDArray[np.float64]


@dataclass(slots=True)
class ColumnInput:
    """What one column aggregates of a batch of k events.

    `column` is its index in the plan. `mask` (k,) selects the events that pass the column's filter, None for all.
    `amounts` (k,) are numbers, whole millionths for a sum, or the hashes of members; None for a count or a time.
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
        self._vocabularies: dict[str, _Vocabulary] = {}
        for _, column in self._columns:
            for field, values in column.need.where:
                self._vocabulary(field).update_with(values)
            if column.need.weights is not None:
                self._vocabulary(cast("str", column.need.field)).update_with([text for text, _ in column.need.weights])
        self._hashes = HashCache()

    def _vocabulary(self, field: str) -> _Vocabulary:
        return self._vocabularies.setdefault(field, _Vocabulary())

    def extract(self, events: Sequence[Event]) -> list[ColumnInput]:
        """The input of each column of this source."""
        cache: dict[str, NDArray[np.generic]] = {}

        def codes(field: str) -> NDArray[np.intp]:
            return cast(
                "NDArray[np.intp]",
                _once(cache, "codes " + field, lambda: self._vocabularies[field].codes(events, field)),
            )

        inputs = []
        for index, column in self._columns:
            need = column.need
            mask: NDArray[np.bool_] | None = None
            for field, values in need.where:
                passes = self._vocabularies[field].table(values)[codes(field)]
                mask = passes if mask is None else mask & passes
            amounts: Amounts | Hashes | None = None
            if need.kind == "members":
                field = cast("str", need.field)
                amounts = cast("Hashes", _once(cache, "hash " + field, partial(self._hash, events, field)))
            elif need.weights is not None:
                weights = self._vocabularies[cast("str", need.field)].weights(need.weights)
                amounts = weights[codes(cast("str", need.field))]
            elif need.field is not None:
                numbers = cast("Amounts", _once(cache, need.field, partial(_numbers, events, need.field)))
                absent = np.isnan(numbers)
                if absent.any():
                    mask = ~absent if mask is None else mask & ~absent
                amounts = np.rint(numbers * MILLIONTHS) if need.kind == "sum" else numbers
                amounts = None if need.kind == "count" else amounts
            inputs.append(ColumnInput(index, mask, amounts))
        return inputs

    def _hash(self, events: Sequence[Event], field: str) -> Hashes:
        return self._hashes.hashes([getattr(event, field) for event in events])


def _once(
    cache: dict[str, NDArray[np.generic]], key: str, make: Callable[[], NDArray[np.generic]]
) -> NDArray[np.generic]:
    if key not in cache:
        cache[key] = make()
    return cache[key]


def _numbers(events: Sequence[Event], field: str) -> Amounts:
    numbers = np.array([getattr(event, field) for event in events], dtype=np.float64)
    if field in NULL_NUMBERS:
        numbers[np.isnan(numbers)] = NULL_NUMBERS[field]
    return numbers


class _Vocabulary(dict[str | None, int]):
    """Codes 1, 2, ... of the texts that a policy names; the code of any other text is 0."""

    def __missing__(self, text: str | None) -> int:
        return 0

    def update_with(self, texts: Sequence[str]) -> None:
        for text in texts:
            if text not in self:
                self[text] = len(self) + 1

    def codes(self, events: Sequence[Event], field: str) -> NDArray[np.intp]:
        texts = [getattr(event, field) for event in events]
        if field == "priority":
            texts = [text or "normal" for text in texts]
        return np.fromiter(map(self.__getitem__, texts), dtype=np.intp, count=len(events))

    def table(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each code is one of `texts`, bool (codes,)."""
        table = np.zeros(len(self) + 1, dtype=bool)
        table[[self[text] for text in texts]] = True
        return table

    def weights(self, weights: Sequence[tuple[str, float]]) -> Amounts:
        """The weight of each code, in millionths, float64 (codes,)."""
        table = np.zeros(len(self) + 1)
        for text, weight in weights:
            table[self[text]] = np.rint(weight * MILLIONTHS)
        return table
