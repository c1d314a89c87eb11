"""The fields of events that are columns, as arrays: nothing is done for each event in Python.

Owns what replaces the attributes of events. Events that were decoded in Python (`EventColumns.others`) are asked for
their attributes, and their values put into the arrays. Called by `stream.plan.extractor`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.event_columns import EventColumns
from schemas.native.library import hash_texts, match_texts
from stream.columns.hash_index import Hashes
from stream.plan.fields import Amounts, Fields, T


class ColumnFields(Fields):
    """The fields of the events of one batch that are columns."""

    def __init__(self, events: EventColumns, fields: Fields) -> None:
        """Read nothing yet; `fields` knows the policy."""
        super().__init__(events, fields.vocabularies, fields.hash_cache, fields.source)
        self._columns = events
        others = list(events.others.values())
        self._others = Fields(others, fields.vocabularies, fields.hash_cache, fields.source) if others else None
        self._other_indexes = list(events.others)

    def texts(self, field: str) -> list[str | None]:
        """The values of a text field."""
        default, texts = self.source.defaults.get(field), self._columns.texts(field).texts()
        texts = texts if default is None else [text or default for text in texts]
        if self._others is not None:
            for index, text in zip(self._other_indexes, self._others.texts(field), strict=True):
                texts[index] = text
        return texts

    def codes(self, field: str) -> NDArray[np.intp]:
        """The code of each value of a text field, intp (k,)."""
        return self.once(("codes", field), lambda: self._codes(field))

    def _codes(self, field: str) -> NDArray[np.intp]:
        vocabulary, texts = self.vocabularies[field], self._columns.texts(field)
        codes = match_texts(self._columns.library, texts, vocabulary.words()).astype(np.intp, copy=False)
        return self._complete(codes, field, texts.starts < 0, vocabulary.__getitem__, Fields.codes)

    def hashes(self, field: str) -> Hashes:
        """The hash of each value of a text field, uint64 (k,); 0 without a value."""
        return self.once(("hashes", field), lambda: self._hashes(field))

    def _hashes(self, field: str) -> Hashes:
        texts = self._columns.texts(field)
        hashes = hash_texts(self._columns.library, texts)
        return self._complete(hashes, field, texts.starts < 0, self.hash_cache.__getitem__, Fields.hashes)

    def numbers(self, field: str) -> Amounts:
        """The values of a number field, float64 (k,); NaN without a value."""
        return self.once(("numbers", field), lambda: self._numbers(field))

    def _numbers(self, field: str) -> Amounts:
        numbers = self._columns.numbers(field)
        return self._complete(numbers, field, np.isnan(numbers), float, Fields.numbers)

    def _complete(
        self,
        values: NDArray[T],
        field: str,
        missing: NDArray[np.bool_],
        of_default: Callable[[Any], Any],
        of_events: Callable[[Fields, str], NDArray[T]],
    ) -> NDArray[T]:
        """The values with that of the field's default where it is missing, and those of events outside the columns."""
        default = self.source.defaults.get(field)
        if default is not None:
            values[missing] = of_default(default)
        if self._others is not None:
            values[self._other_indexes] = of_events(self._others, field)
        return values

    def exists(self, field: str) -> NDArray[np.bool_]:
        """Which events have a value in a field, bool (k,)."""
        if field in self.source.defaults:
            return np.ones(len(self._columns), dtype=np.bool_)
        if self._columns.is_number(field):
            exists = ~np.isnan(self._columns.numbers(field))
        else:
            exists = self._columns.texts(field).starts >= 0
        if self._others is not None:
            exists[self._other_indexes] = self._others.exists(field)
        return exists
