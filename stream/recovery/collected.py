"""The newest changelog records of a partition, collected while they are read, by namespace and kind.

Owns how records are sorted: rows and pages, of which there are many, are in `stream.recovery.newest` or
`stream.recovery.newest_native`, all others in a dictionary. The last record of a key is not always the newest: a worker
that was frozen past its session may write once more before it finds that its partitions were assigned to another. Rows
and pages have the number of events in them, ids only grow, and the state has the settled offsets: the record with more
stays. One that can not be read stays until another one or a tombstone comes, so that what is damaged can be mended by
writing it anew; `stream.recovery.changelog` refuses it. Pure; called by `agents.worker.tasks.task` and
`stream.recovery.namespaces`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import compress, islice
from operator import itemgetter
from typing import cast

import numpy as np

from schemas.native.library import Spans, load
from schemas.native.newest import AgeRule
from stream.recovery.newest import AgesOf, NewestValues
from stream.recovery.newest_native import NewestInTable
from stream.recovery.record_form import (
    NAMESPACE_TAG,
    PAGE_KEY_BYTES,
    PAGE_RULE,
    ROW_RULE,
    is_newer,
    namespace_of,
    page_ages,
    row_ages,
)

Tags = np.ndarray[tuple[int], np.dtype[np.uint8]]
_ROW, _PAGE, _NAMED = b"rp" + NAMESPACE_TAG
_AT_ONCE = 4096
"""Records of a dictionary that are sorted at once."""
_tag = itemgetter(0)


class Namespace(Mapping[bytes, bytes]):
    """The newest value of each key of a namespace; keys are without its name."""

    def __init__(self) -> None:
        """Empty."""
        self.rows = _newest(row_ages, ROW_RULE)
        self.pages = _newest(page_ages, PAGE_RULE)
        self.others: dict[bytes, bytes] = {}
        """Records that are neither: schemas, history, peer tables, state, ids, and what this version does not know."""

    @classmethod
    def of(cls, records: Mapping[bytes, bytes]) -> Namespace:
        """The records of a mapping."""
        namespace = cls()
        for keys, values in _some_at_a_time(records):
            namespace.add(keys, values, tags_of(keys))
        return namespace

    def __len__(self) -> int:
        """Number of keys."""
        return len(self.rows) + len(self.pages) + len(self.others)

    def __iter__(self) -> Iterator[bytes]:
        """All keys, those of rows and pages last."""
        yield from self.others
        yield from self.pages
        yield from self.rows

    def __contains__(self, key: object) -> bool:
        """Whether a key has a value."""
        return any(key in records for records in (self.others, self.rows, self.pages))

    def __getitem__(self, key: bytes) -> bytes:
        """The newest value of a key."""
        value = self.others.get(key)
        if value is not None:
            return value
        return self.rows[key] if key[:1] == b"r" else self.pages[key]

    def tags(self) -> set[bytes]:
        """The first byte of all keys."""
        of_many = [tag for tag, records in ((b"r", self.rows), (b"p", self.pages)) if len(records)]
        return {*of_many, *(key[:1] for key in self.others)}

    def without(self, keys: Collection[bytes]) -> Namespace:
        """The same records without some that are neither rows nor pages."""
        fewer = Namespace()
        fewer.rows, fewer.pages = self.rows, self.pages
        fewer.others = {key: value for key, value in self.others.items() if key not in keys}
        return fewer

    def add(self, keys: Sequence[bytes], values: Sequence[bytes | None], tags: Tags) -> None:
        """Add records in the order of the log; None deletes. `tags` (k,) are the first bytes of the keys."""
        is_row = tags == _ROW
        if is_row.all():
            self.rows.add(keys, values)
            return
        is_page = tags == _PAGE
        if is_row.any():
            self.rows.add(list(compress(keys, is_row)), list(compress(values, is_row)))
        if is_page.any():
            self._add_pages(list(compress(keys, is_page)), list(compress(values, is_page)))
        is_other = ~(is_row | is_page)
        for key, value in zip(compress(keys, is_other), compress(values, is_other), strict=True):
            self._add_other(key, value)

    def sort(self, keys: Spans, values: Spans) -> tuple[Spans, Spans]:
        """Add rows and pages in the order of the log; returns all other records, and those of named namespaces."""
        if not isinstance(self.rows, NewestInTable) or not isinstance(self.pages, NewestInTable):
            return keys, values
        others = self.rows.sort(self.pages, PAGE_KEY_BYTES, keys, values)
        return keys.take(others), values.take(others)

    def _add_pages(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        if min(map(len, keys)) >= PAGE_KEY_BYTES:
            self.pages.add(keys, values)
            return
        for key, value in zip(keys, values, strict=True):
            if len(key) < PAGE_KEY_BYTES:  # it is no key of a page
                self._add_other(key, value)
            else:
                self.pages.add([key], [value])

    def _add_other(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.others.pop(key, None)
            return
        known = self.others.get(key)
        if known is None or is_newer(key, value, known):
            self.others[key] = value


class Collected(Mapping[bytes, bytes]):
    """The newest value of each key of a partition."""

    def __init__(self) -> None:
        """Empty."""
        self._unnamed = Namespace()
        self._named: dict[bytes, Namespace] = {}

    @classmethod
    def of(cls, records: Mapping[bytes, bytes]) -> Collected:
        """The records of a mapping."""
        collected = cls()
        for batch in _some_at_a_time(records):
            collected.add(*batch)
        return collected

    def __len__(self) -> int:
        """Number of keys."""
        return len(self._unnamed) + sum(map(len, self._named.values()))

    def __iter__(self) -> Iterator[bytes]:
        """All keys."""
        yield from self._unnamed
        for name, namespace in self._named.items():
            yield from (name + key for key in namespace)

    def __contains__(self, key: object) -> bool:
        """Whether a key has a value."""
        if not isinstance(key, bytes) or key[:1] != NAMESPACE_TAG:
            return key in self._unnamed
        name = namespace_of(key)
        return name in self._named and key[len(name) :] in self._named[name]

    def __getitem__(self, key: bytes) -> bytes:
        """The newest value of a key."""
        name = namespace_of(key)
        return self._named[name][key[len(name) :]] if name else self._unnamed[key]

    def rows(self) -> int:
        """Number of rows, without those of named namespaces."""
        return len(self._unnamed.rows)

    def nbytes(self) -> int:
        """Bytes of memory of rows and pages, without their keys."""
        namespaces = (self._unnamed, *self._named.values())
        return sum(each.rows.nbytes() + each.pages.nbytes() for each in namespaces)

    def add(self, keys: Sequence[bytes | None] | Spans, values: Sequence[bytes | None] | Spans) -> None:
        """Add records in the order of the log; a value that is None deletes, and a key that is None is an empty one."""
        if isinstance(keys, Spans):
            assert isinstance(values, Spans), "keys and values lie in one buffer"
            other_keys, other_values = self._unnamed.sort(keys, values)
            self._add_listed(other_keys.values(), other_values.values())
        else:
            assert not isinstance(values, Spans), "keys and values are both listed"
            self._add_listed(keys, values)

    def _add_listed(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> None:
        tags = tags_of(keys)
        self._add(cast("Sequence[bytes]", keys) if tags.all() else [key or b"" for key in keys], values, tags)

    def _add(self, keys: Sequence[bytes], values: Sequence[bytes | None], tags: Tags) -> None:
        is_named = tags == _NAMED
        if not is_named.any():
            self._unnamed.add(keys, values, tags)
            return
        unnamed = ~is_named
        self._unnamed.add(list(compress(keys, unnamed)), list(compress(values, unnamed)), tags[unnamed])
        by_name: dict[bytes, tuple[list[bytes], list[bytes | None]]] = {}
        for key, value in zip(compress(keys, is_named), compress(values, is_named), strict=True):
            name = namespace_of(key)
            mine = by_name.setdefault(name, ([], []))
            mine[0].append(key[len(name) :])
            mine[1].append(value)
        for name, (own_keys, own_values) in by_name.items():
            self._named.setdefault(name, Namespace()).add(own_keys, own_values, tags_of(own_keys))

    def namespaces(self, of_the_partition: Collection[bytes]) -> dict[bytes, Namespace]:
        """The namespaces that have a record, by name; the keys `of_the_partition` belong to none."""
        namespaces = {b"": self._unnamed.without(of_the_partition), **self._named}
        return {name: namespace for name, namespace in namespaces.items() if len(namespace)}


def _newest(ages_of: AgesOf, rule: AgeRule) -> NewestValues | NewestInTable:
    """An empty collection of records whose ages are given by a function, and for the native library by a rule."""
    library = load()
    return NewestValues(ages_of) if library is None else NewestInTable(library, rule)


def tags_of(keys: Sequence[bytes | None]) -> Tags:
    """The first byte of each key, (k,); 0 for an empty or missing key."""
    try:
        tags = bytes(map(_tag, keys))  # type: ignore[arg-type]  # a None raises TypeError
    except (IndexError, TypeError):
        tags = bytes(key[0] if key else 0 for key in keys)
    return np.frombuffer(tags, dtype=np.uint8)


def _some_at_a_time(records: Mapping[bytes, bytes]) -> Iterator[tuple[list[bytes], list[bytes]]]:
    entries = iter(records.items())
    while batch := list(islice(entries, _AT_ONCE)):
        yield [key for key, _ in batch], [value for _, value in batch]
