"""Skim records: decode only the paths that rules read, and skip whatever else their JSON has.

Owns which records that is for; all others have to be decoded in full, by `stream.mapping.framing`: those that are no
plain JSON object, and those that only a full decoder may refuse. Called by `stream.mapping.polled`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import reduce
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

Path = tuple[str, ...]
Row = Sequence[Any]
"""The values of paths, each at its index in `Skim.slots`."""
_PAYLOAD = "payload"
"""Of an envelope of Connect, whose content is the record: `stream.mapping.framing` takes it out."""
_BLOCK = 100
_STEP = 25
_LONG = b"\1" * (2 * _BLOCK // _STEP)
"""What every step in a number of two blocks gives, which has at least one whole block."""
_Tree = dict[str, Any]
"""By name, the tree of the object under this name, or 0 for a value."""


class Skim:
    """Decodes records to rows."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Make the decoder of `paths`, of which none begins with another one."""
        self.slots = {path: index for index, path in enumerate(paths, 1)}
        tree: _Tree = {}
        for path in paths:
            reduce(lambda inner, name: inner.setdefault(name, {}), path[:-1], tree)[path[-1]] = 0
        attributes = [_PAYLOAD, *(_attributes(tree, path) for path in paths)]
        record_type = _type_of(tree, [(_PAYLOAD, msgspec.Raw, None)])
        self._decode = msgspec.json.Decoder(record_type).decode
        self._unread = record_type(msgspec.Raw())
        self._values = attrgetter(*attributes)
        self._names = [attribute.split(".") for attribute in attributes]

    @classmethod
    def of(cls, paths: Collection[Path]) -> Skim | None:
        """What decodes records to rows that have the values of paths; None for paths that no type can have."""
        outermost = sorted(path for path in paths if not any(path[:size] in paths for size in range(1, len(path))))
        if not outermost or any(path[0] == _PAYLOAD for path in outermost):
            return None
        return cls(outermost) if all(is_plain_name(name) for path in outermost for name in path) else None

    def read(self, values: Sequence[bytes]) -> list[Row | None]:
        """The rows of records; None for each that has to be decoded in full."""
        joined = b"\n".join(values)
        try:
            if not joined.isascii():
                joined.decode()  # the decoder does not check texts that it skips
            decoded = list(map(self._decode, values))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            decoded = [self._decoded(value) for value in values]
        try:
            rows: list[Row] = list(map(self._values, decoded))
        except AttributeError:
            rows = [self._row(record) for record in decoded]
        skimmed: list[Row | None] = [row if row[0] is None else None for row in rows]
        for index in _doubtful(joined, values):
            skimmed[index] = None
        return skimmed

    def _row(self, record: Any) -> Row:
        """The row of a record, of which an object may be null."""
        try:
            row: Row = self._values(record)
        except AttributeError:
            row = [reduce(_under, names, record) for names in self._names]
        return row

    def _decoded(self, value: bytes) -> Any:
        """A record that is alone, since there is one that cannot be decoded."""
        try:
            if not value.isascii():
                value.decode()
            return self._decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._unread


def is_plain_name(name: str) -> bool:
    """Whether a field of a type can have this name."""
    return name.isprintable() and not {'"', "\\"} & set(name)


def _doubtful(joined_values: bytes, values: Sequence[bytes]) -> set[int]:
    """The indexes of values that may have a number beyond a float: only a decoder of all numbers refuses these.

    Such a number has three digits after its `e`, or more than two hundred before it. Texts may look like that as well.
    """
    joined = np.frombuffer(joined_values, dtype=np.uint8)
    numeric = (joined - ord(".")) < len("./0123456789")
    exponents = (joined | ord(" ")) == ord("e")
    hits = np.flatnonzero(numeric[:-4] & exponents[1:-3] & numeric[3:-1] & numeric[4:])
    if _LONG in numeric[::_STEP].tobytes():
        blocks = numeric[: len(numeric) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).all(axis=1)
        hits = np.concatenate([hits, np.flatnonzero(blocks) * _BLOCK])
    if not len(hits):
        return set()
    ends = np.cumsum([len(value) + 1 for value in values])
    return set(np.searchsorted(ends, hits, side="right").tolist())


def _attributes(tree: _Tree, path: Path) -> str:
    """Where the value of a path is in what the decoder gives."""
    inner, attributes = tree, []
    for name in path:
        attributes.append(_attribute(list(inner).index(name)))
        inner = inner[name]
    return ".".join(attributes)


def _attribute(number: int) -> str:
    return f"value_{number}"


def _type_of(tree: _Tree, more: Sequence[tuple[str, Any, Any]] = ()) -> type[msgspec.Struct]:
    """A type with the fields of a tree: objects have a type of their own, and all other values are of any type."""
    fields = list(more)
    for number, inner in enumerate(tree.values()):
        attribute = _attribute(number)
        if isinstance(inner, dict):
            inner_type: Any = _type_of(inner)
            fields.append((attribute, inner_type | None, inner_type()))
        else:
            fields.append((attribute, Any, None))
    names = {_attribute(number): name for number, name in enumerate(tree)}
    return msgspec.defstruct("Skimmed", fields, rename=names, frozen=True, gc=False)


def _under(decoded: Any, attribute: str) -> Any:
    return None if decoded is None else getattr(decoded, attribute)
