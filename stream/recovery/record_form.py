"""The form of changelog records: their keys, what a key says, and whether a value is whole.

Owns the layout of keys, the types of the state record, and how records of one key are compared. A value that is not
whole raises `RowSchemaError`: an account must never come back with less than was saved. Pure; called by
`stream.recovery.changelog`, `stream.recovery.namespaces` and `stream.recovery.unreadable`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.native.newest import AgeRule
from stream.columns.members import PAGE_ENTRY
from stream.columns.row_schema import VERSION, RowSchemaError, row_age
from stream.columns.things import THING_ENTRY

STATE_KEY = b"s"
NAMESPACE_TAG = b"x"
NAMESPACE_BYTES = 9
PAGE_KEY = struct.Struct(">8sI")
PAGE_HEAD = np.dtype([("tag", "S9"), ("number", ">u4")])
SEGMENT_KEY = struct.Struct(">II")
PAGE_KEY_BYTES = 1 + PAGE_KEY.size
"""Bytes of the key of a page before the account."""
AGE = struct.Struct("<q")
"""Events applied to the account when a page was written."""
TAGS = (b"l", b"h", b"p", b"r", b"t", b"s", b"i")
MANY_TAGS = (b"r", b"p", b"i")
"""Tags of the records of which a partition has many: rows, pages, ids."""
_KINDS = {
    b"l": "row schema",
    b"h": "history",
    b"r": "row",
    b"p": "page",
    b"t": "peer tables",
    b"s": "state",
    b"i": "event ids",
}
_ACCOUNT_FROM = {b"r": 1, b"p": PAGE_KEY_BYTES}
_ID_BYTES = 8
_ROW_TAG, _PAGE_TAG = b"rp"
_ROW_AGE = struct.Struct("<17xq")
"""Version, schema and stream time of a row, then the number of events applied to it, see `row_age`."""
_PAGE_LENGTHS = frozenset(AGE.size + size for size in range(0, 48, 4) if size % 12 == 0 or size % 16 == 0)
"""Lengths of whole pages modulo 48: the size of an entry is `PAGE_ENTRY`'s, 12 bytes, or `THING_ENTRY`'s, 16."""
_IS_PAGE_LENGTH = np.isin(np.arange(48), list(_PAGE_LENGTHS))
_NUMBER_BYTES = 8
ROW_RULE = AgeRule(_ROW_AGE.size - _NUMBER_BYTES, lengths=2**48 - 1, version=VERSION, least=0)
"""`row_ages` for the native library."""
PAGE_RULE = AgeRule(0, lengths=sum(1 << length for length in _PAGE_LENGTHS))
"""`page_ages` for the native library."""


class UnreadableRecordError(RowSchemaError):
    """A changelog that can not be restored. `key` is the record's; None when no single record is the cause."""

    def __init__(self, key: bytes | None, error: Exception) -> None:
        """`error` is what reading it raised."""
        self.key = key
        self.account = None if key is None else account_of(key)
        self.why = str(error) if isinstance(error, RowSchemaError) else f"{type(error).__name__}: {error}"
        what = "the changelog can not be restored" if key is None else f"{described(key)} can not be read"
        super().__init__(f"{what}: {self.why}")


class State(msgspec.Struct, omit_defaults=True):
    """The fields of the state record and their types; fields of later versions are ignored."""

    position: dict[str, int]
    as_of: int | None = None
    judged: int | None = None
    policy: str | None = None
    settled: list[tuple[str, str, int]] = []
    watermarks: dict[str, int] = {}
    stalls: dict[str, int] = {}
    storm: tuple[bool | int, int, int, int] | None = None
    tables: int = 0
    peers: str | None = None
    erased: int = 0
    erasing: list[str] = []
    catching_up: bool = False


_STATE = msgspec.json.Decoder(State)


def namespace_of(key: bytes) -> bytes:
    """The name of the namespace that a record belongs to; empty for the first live one."""
    return key[:NAMESPACE_BYTES] if key[:1] == NAMESPACE_TAG else b""


def tag_of(key: bytes) -> bytes:
    """The tag byte of a record's key."""
    return key[len(namespace_of(key)) :][:1]


def account_of(key: bytes) -> str | None:
    """The account that a row or a page is about; None for records about no single account."""
    name = key[len(namespace_of(key)) :]
    start = _ACCOUNT_FROM.get(name[:1])
    return None if start is None else name[start:].decode(errors="replace")


def described(key: bytes) -> str:
    """A record as messages name it: its kind, its account and its key."""
    account = account_of(key)
    about = "" if account is None else f" of account {account!r}"
    return f"the {_KINDS.get(tag_of(key), 'record')}{about} (key {key!r})"


def read_state(value: bytes) -> State:
    """The state record. Raises `RowSchemaError` when it is no JSON or a field has another type."""
    try:
        return _STATE.decode(value)
    except msgspec.DecodeError as error:
        msg = f"it is no JSON of a state: {error}"
        raise RowSchemaError(msg) from error


def page_of(value: bytes, entries: Sequence[np.dtype[np.void]] = (PAGE_ENTRY, THING_ENTRY)) -> bytes:
    """The entries of a page, of one of these types. Raises `RowSchemaError` when it is cut."""
    size = len(value) - AGE.size
    if size < 0 or all(size % entry.itemsize for entry in entries):
        msg = f"it is cut: {len(value)} bytes are no whole number of entries"
        raise RowSchemaError(msg)
    return value[AGE.size :]


def require_whole_pages(
    lengths: NDArray[np.int64], entries: Sequence[np.dtype[np.void]] = (PAGE_ENTRY, THING_ENTRY)
) -> None:
    """Raise `RowSchemaError` unless pages of these lengths (k,) are whole, as `page_of` does."""
    sizes = lengths - AGE.size
    whole = (sizes >= 0) & np.logical_or.reduce([sizes % entry.itemsize == 0 for entry in entries])
    if not whole.all():
        page_of(bytes(int(lengths[whole.argmin()])), entries)


def segment_of(value: bytes) -> bytes:
    """A segment of event ids. Raises `RowSchemaError` when it is cut."""
    if len(value) < _ID_BYTES or len(value) % _ID_BYTES:
        msg = f"it is cut: {len(value)} bytes are no whole number of ids"
        raise RowSchemaError(msg)
    return value


def age(key: bytes, value: bytes) -> int:
    """How much a record contains, among those of its key. Raises `RowSchemaError` when it is not whole."""
    tag = tag_of(key)
    if tag == b"r":
        if value[:1] != bytes([VERSION]) or row_age(value) < 0:
            msg = f"it is cut, or of another version than {VERSION}: {value[:9]!r}, {len(value)} bytes"
            raise RowSchemaError(msg)
        return row_age(value)
    if tag == b"p":
        page_of(value)
        return int(AGE.unpack_from(value)[0])
    if tag == b"s":
        return sum(read_state(value).position.values())
    return len(segment_of(value)) if tag == b"i" else 0


def row_ages(
    block: bytes | bytearray, starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The `age` of rows that lie in a block, (k,), and which of them are whole as far as that can be compared."""
    whole = lengths >= _ROW_AGE.size
    ages = numbers_at(block, np.where(whole, starts, 0) + (_ROW_AGE.size - _NUMBER_BYTES))
    if len(block):
        whole &= np.frombuffer(block, dtype=np.uint8)[np.minimum(starts, len(block) - 1)] == VERSION
    return ages, whole & (ages >= 0)


def page_ages(
    block: bytes | bytearray, starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The `age` of pages that lie in a block, (k,), and which of them are whole."""
    whole = _IS_PAGE_LENGTH[lengths % 48]
    return numbers_at(block, np.where(whole, starts, 0)), whole


def numbers_at(block: bytes | bytearray, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers that begin at these bytes of a block, int64 (k,); 0 of those that do not lie in it."""
    count = len(block) - _NUMBER_BYTES + 1
    if count <= 0:
        return np.zeros(len(starts), dtype=np.int64)
    numbers: NDArray[np.int64] = np.ndarray((count,), np.dtype("<i8"), block, 0, (1,))
    return np.where(starts < count, numbers[np.minimum(starts, count - 1)], 0)


def is_whole(key: bytes, value: bytes) -> bool:
    """Whether a record can be compared with others of its key."""
    try:
        age(key, value)
    except RowSchemaError:
        return False
    return True


def is_newer(key: bytes, value: bytes, known: bytes) -> bool:
    """Whether a record takes the place of the one before it; the later one does where one of them is not whole."""
    tag = key[0] if key else 0
    # Rows and pages are nearly all records: they are compared as below, but in a quarter of the time.
    if tag == _ROW_TAG and len(value) >= _ROW_AGE.size <= len(known) and value[0] == known[0] == VERSION:
        later, before = _ROW_AGE.unpack_from(value)[0], _ROW_AGE.unpack_from(known)[0]
        return bool(later >= before or later < 0 or before < 0)
    if tag == _PAGE_TAG and len(value) % 48 in _PAGE_LENGTHS and len(known) % 48 in _PAGE_LENGTHS:
        return bool(AGE.unpack_from(value)[0] >= AGE.unpack_from(known)[0])
    try:
        later = age(key, value)
        return bool(later >= age(key, known))
    except RowSchemaError:
        return True


def mark_of(value: bytes) -> int:
    """The offset in a record `a` or `c`. Raises `RowSchemaError`."""
    if not value.isdigit():
        msg = f"it is no offset: {value[:40]!r}"
        raise RowSchemaError(msg)
    return int(value)


def live_name_of(value: bytes, names: Any) -> bytes:
    """The namespace that a record `b` names, one of `names`. Raises `RowSchemaError` when it is not there."""
    if value not in names:
        msg = f"the live namespace {value[:40]!r} is not in the changelog"
        raise RowSchemaError(msg)
    return value
