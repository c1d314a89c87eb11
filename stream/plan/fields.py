"""The fields of the events of one batch as arrays, and the codes of the texts that a policy names.

Owns what a missing value counts as. `stream.plan.column_fields` has the same for events that are columns. Called by
`stream.plan.extractor`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from stream.policy.filters import Condition, parts_of

Amounts = NDArray[np.float64]
Texts = tuple[str, ...]
T = TypeVar("T", bound=np.generic)


class Fields:
    """The fields of the events of one batch, each read once, and which events meet a condition.

    In a field with a default an explicit null is the default, and elsewhere it is no value.
    """

    def __init__(
        self,
        events: Sequence[Event],
        vocabularies: Mapping[str, Vocabulary],
        hashes: HashCache,
        source: Source,
    ) -> None:
        """Read nothing yet; `vocabularies` has the texts that the policy names, by field."""
        self._events, self.vocabularies, self.hash_cache, self.source = events, vocabularies, hashes, source
        self._cache: dict[object, NDArray[np.generic]] = {}

    def once(self, key: object, make: Callable[[], NDArray[T]]) -> NDArray[T]:
        """What `make` makes, made once."""
        if key not in self._cache:
            self._cache[key] = make()
        return cast("NDArray[T]", self._cache[key])

    def texts(self, field: str) -> list[str | None]:
        """The values of a text field."""
        name = property_name(field)
        if name is not None:
            return [property_text(value) for value in values_of(self._events, name)]
        attribute, default = attribute_of(field), self.source.defaults.get(field)
        texts = list(map(attrgetter(attribute), self._events))
        if field in self.source.flags:
            return [property_text(flag) for flag in texts]
        return texts if default is None else [text or default for text in texts]

    def codes(self, field: str) -> NDArray[np.intp]:
        """The code of each value of a text field, intp (k,)."""
        return self.once(("codes", field), lambda: self.vocabularies[field].codes(self.texts(field)))

    def hashes(self, field: str) -> Hashes:
        """The hash of each value of a text field, uint64 (k,); 0 without a value."""
        return self.once(("hashes", field), lambda: self.hash_cache.hashes(self.texts(field)))

    def numbers(self, field: str) -> Amounts:
        """The values of a number field, float64 (k,); NaN without a value."""
        return self.once(("numbers", field), partial(numbers_of, self._events, field, self.source.defaults.get(field)))

    def passes(self, condition: Condition) -> NDArray[np.bool_]:
        """Which events meet a condition, bool (k,)."""
        return self.once(condition, partial(self._passes, condition))

    def _passes(self, condition: Condition) -> NDArray[np.bool_]:
        field, operator, operand = parts_of(condition)
        if operator in {"in", "not"}:
            listed = self.vocabularies[field].table(cast("Texts", operand))[self.codes(field)]
            return listed if operator == "in" else ~listed
        if operator == "prefix":
            prefixes = cast("Texts", operand)
            return self._mask([text is not None and text.startswith(prefixes) for text in self.texts(field)])
        if operator == "exists":
            exists = self.exists(field)
            return exists if operand else ~exists
        numbers, limit = self.numbers(field), cast("float", operand)
        return numbers >= limit if operator == "from" else numbers < limit

    def exists(self, field: str) -> NDArray[np.bool_]:
        """Which events have a value in a field, bool (k,)."""
        if property_name(field) is not None:
            return self._mask([text is not None for text in self.texts(field)])
        attribute, always = attribute_of(field), field in self.source.defaults
        return self._mask([always or getattr(event, attribute) is not None for event in self._events])

    def _mask(self, passes: list[bool]) -> NDArray[np.bool_]:
        return np.array(passes, dtype=np.bool_)


def numbers_of(events: Sequence[Event], field: str, default: float | None) -> Amounts:
    """The values of a number field, float64 (k,); NaN without a value."""
    name = property_name(field)
    if name is not None:
        return np.array([property_number(value) for value in values_of(events, name)], dtype=np.float64)
    attribute = attribute_of(field)
    numbers = np.array(list(map(attrgetter(attribute), events)), dtype=np.float64)
    if default is not None and np.count_nonzero(absent := np.isnan(numbers)):
        numbers[absent] = default
    return numbers


class Vocabulary(dict[str | None, int]):
    """Codes 1, 2, ... of the texts that a policy names; the code of any other text is 0."""

    def __missing__(self, text: str | None) -> int:
        """The code of a text that no policy names."""
        return 0

    def update_with(self, texts: Sequence[str]) -> None:
        """Give a code to each text that has none."""
        for text in texts:
            if text not in self:
                self[text] = len(self) + 1

    def words(self) -> list[str]:
        """The texts that have a code, in the order of their codes."""
        return [text for text in self if text is not None]

    def codes(self, texts: Sequence[str | None]) -> NDArray[np.intp]:
        """The code of each text, intp (k,)."""
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
