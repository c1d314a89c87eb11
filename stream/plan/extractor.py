"""Extract from the events of one source what its columns aggregate: filters as masks, fields as arrays of amounts.

Owns the step from decoded events to numpy arrays, compiled once per policy and source. Keeps no state of accounts.
Called by `stream.ingest.aggregation` for each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from schemas.events import Event
from stream.columns.columns import MILLIONTHS
from stream.columns.hash_index import HashCache, Hashes
from stream.plan.plan import Plan
from stream.policy.filters import Condition, parts_of

NULL_NUMBERS = {"count": 1.0, "duration_s": 0.0, "amount": 0.0, "days_late": 0.0}
"""The value of an explicit null in fields that have a default; in any other number field the value is missing."""

DEFAULTS = (*NULL_NUMBERS, "priority")
"""Fields that always have a value."""

Amounts = NDArray[np.float64]
Texts = tuple[str, ...]
T = TypeVar("T", bound=np.generic)


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
            for condition in column.need.where:
                field, operator, operand = parts_of(condition)
                if operator in {"in", "not"}:
                    self._vocabulary(field).update_with(cast("Texts", operand))
            if column.need.weights is not None:
                self._vocabulary(cast("str", column.need.field)).update_with([text for text, _ in column.need.weights])
        self._hashes = HashCache()

    def _vocabulary(self, field: str) -> _Vocabulary:
        return self._vocabularies.setdefault(field, _Vocabulary())

    def extract(self, events: Sequence[Event]) -> list[ColumnInput]:
        """The input of each column of this source."""
        fields = _Fields(events, self._vocabularies, self._hashes)
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
            elif need.weights is not None:
                weights = self._vocabularies[cast("str", need.field)].weights(need.weights)
                amounts = weights[fields.codes(cast("str", need.field))]
            elif need.field is not None:
                numbers = fields.numbers(need.field)
                absent = np.isnan(numbers)
                if absent.any():
                    mask = ~absent if mask is None else mask & ~absent
                amounts = np.rint(numbers * MILLIONTHS) if need.kind == "sum" else numbers
                amounts = None if need.kind == "count" else amounts
            inputs.append(ColumnInput(index, mask, amounts))
        return inputs


class _Fields:
    """The fields of the events of one batch, each read once, and which events meet a condition."""

    def __init__(self, events: Sequence[Event], vocabularies: Mapping[str, _Vocabulary], hashes: HashCache) -> None:
        self._events, self._vocabularies, self._hashes = events, vocabularies, hashes
        self._cache: dict[object, NDArray[np.generic]] = {}

    def _once(self, key: object, make: Callable[[], NDArray[T]]) -> NDArray[T]:
        if key not in self._cache:
            self._cache[key] = make()
        return cast("NDArray[T]", self._cache[key])

    def texts(self, field: str) -> list[str | None]:
        """The values of a text field."""
        texts = [getattr(event, field) for event in self._events]
        return [text or "normal" for text in texts] if field == "priority" else texts

    def codes(self, field: str) -> NDArray[np.intp]:
        """The code of each value of a text field, intp (k,)."""
        return self._once(("codes", field), lambda: self._vocabularies[field].codes(self.texts(field)))

    def hashes(self, field: str) -> Hashes:
        """The hash of each value of a text field, uint64 (k,); 0 without a value."""
        return self._once(("hashes", field), lambda: self._hashes.hashes(self.texts(field)))

    def numbers(self, field: str) -> Amounts:
        """The values of a number field, float64 (k,); NaN without a value."""
        return self._once(("numbers", field), partial(_numbers, self._events, field))

    def passes(self, condition: Condition) -> NDArray[np.bool_]:
        """Which events meet a condition, bool (k,)."""
        return self._once(condition, partial(self._passes, condition))

    def _passes(self, condition: Condition) -> NDArray[np.bool_]:
        field, operator, operand = parts_of(condition)
        if operator in {"in", "not"}:
            listed = self._vocabularies[field].table(cast("Texts", operand))[self.codes(field)]
            return listed if operator == "in" else ~listed
        if operator == "prefix":
            prefixes = cast("Texts", operand)
            return self._mask([text is not None and text.startswith(prefixes) for text in self.texts(field)])
        if operator == "exists":
            exists = self._mask([field in DEFAULTS or getattr(event, field) is not None for event in self._events])
            return exists if operand else ~exists
        numbers, limit = self.numbers(field), cast("float", operand)
        return numbers >= limit if operator == "from" else numbers < limit

    def _mask(self, passes: list[bool]) -> NDArray[np.bool_]:
        return np.array(passes, dtype=np.bool_)


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

    def codes(self, texts: Sequence[str | None]) -> NDArray[np.intp]:
        return np.fromiter(map(self.__getitem__, texts), dtype=np.intp, count=len(texts))

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
