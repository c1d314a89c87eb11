"""Extract from the events of one source what its columns aggregate: filters as masks, fields as arrays of amounts.

Owns the step from decoded events to numpy arrays, compiled once per policy and source. Keeps no state of accounts.
Called by `stream.ingest.aggregation` for each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from schemas.events import Event
from schemas.properties import property_name, property_number, property_text, values_of
from schemas.sources import Source, attribute_of
from stream.columns.columns import MILLIONTHS
from stream.columns.hash_index import HashCache, Hashes
from stream.columns.things import thing_keys
from stream.plan.plan import Plan
from stream.policy.filters import Condition, parts_of

Amounts = NDArray[np.float64]
Texts = tuple[str, ...]
T = TypeVar("T", bound=np.generic)


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
        self._vocabularies: dict[str, _Vocabulary] = {}
        for _, column in self._columns:
            for condition in (*column.need.where, *column.need.of):
                field, operator, operand = parts_of(condition)
                if operator in {"in", "not"}:
                    self._vocabulary(field).update_with(cast("Texts", operand))
            if column.need.weights is not None:
                self._vocabulary(cast("str", column.need.field)).update_with([text for text, _ in column.need.weights])
        self._hashes = HashCache()
        self._source = plan.sources[source]

    def _vocabulary(self, field: str) -> _Vocabulary:
        return self._vocabularies.setdefault(field, _Vocabulary())

    def extract(self, events: Sequence[Event]) -> list[ColumnInput]:
        """The input of each column of this source."""
        fields = _Fields(events, self._vocabularies, self._hashes, self._source)
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


class _Fields:
    """The fields of the events of one batch, each read once, and which events meet a condition.

    In a field with a default an explicit null is the default, and elsewhere it is no value.
    """

    def __init__(
        self,
        events: Sequence[Event],
        vocabularies: Mapping[str, _Vocabulary],
        hashes: HashCache,
        source: Source,
    ) -> None:
        self._events, self._vocabularies, self._hashes, self._source = events, vocabularies, hashes, source
        self._cache: dict[object, NDArray[np.generic]] = {}

    def _once(self, key: object, make: Callable[[], NDArray[T]]) -> NDArray[T]:
        if key not in self._cache:
            self._cache[key] = make()
        return cast("NDArray[T]", self._cache[key])

    def texts(self, field: str) -> list[str | None]:
        """The values of a text field."""
        name = property_name(field)
        if name is not None:
            return [property_text(value) for value in values_of(self._events, name)]
        attribute, default = attribute_of(field), self._source.defaults.get(field)
        texts = list(map(attrgetter(attribute), self._events))
        if field in self._source.flags:
            return [property_text(flag) for flag in texts]
        return texts if default is None else [text or default for text in texts]

    def codes(self, field: str) -> NDArray[np.intp]:
        """The code of each value of a text field, intp (k,)."""
        return self._once(("codes", field), lambda: self._vocabularies[field].codes(self.texts(field)))

    def hashes(self, field: str) -> Hashes:
        """The hash of each value of a text field, uint64 (k,); 0 without a value."""
        return self._once(("hashes", field), lambda: self._hashes.hashes(self.texts(field)))

    def numbers(self, field: str) -> Amounts:
        """The values of a number field, float64 (k,); NaN without a value."""
        return self._once(("numbers", field), partial(_numbers, self._events, field, self._source.defaults.get(field)))

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
            exists = self._mask(self._exists(field))
            return exists if operand else ~exists
        numbers, limit = self.numbers(field), cast("float", operand)
        return numbers >= limit if operator == "from" else numbers < limit

    def _exists(self, field: str) -> list[bool]:
        name = property_name(field)
        if name is not None:
            return [text is not None for text in self.texts(field)]
        attribute, always = attribute_of(field), field in self._source.defaults
        return [always or getattr(event, attribute) is not None for event in self._events]

    def _mask(self, passes: list[bool]) -> NDArray[np.bool_]:
        return np.array(passes, dtype=np.bool_)


def _numbers(events: Sequence[Event], field: str, default: float | None) -> Amounts:
    name = property_name(field)
    if name is not None:
        return np.array([property_number(value) for value in values_of(events, name)], dtype=np.float64)
    attribute = attribute_of(field)
    numbers = np.array(list(map(attrgetter(attribute), events)), dtype=np.float64)
    if default is not None and np.count_nonzero(absent := np.isnan(numbers)):
        numbers[absent] = default
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

    def weights(self, weights: Sequence[tuple[str, float]], unlisted: float) -> Amounts:
        """The weight of each code, in millionths, or `unlisted`, float64 (codes,)."""
        table = np.full(len(self) + 1, unlisted)
        for text, weight in weights:
            table[self[text]] = np.rint(weight * MILLIONTHS)
        return table
