"""The layout of changelog rows: which fields a row has, and which bands its numbers mean.

Owns `RowSchema`, its form as a record of the changelog, and how a row names its own. Rows of another policy or version
are read by field name. Called by `stream.accounts.accounts` and `stream.recovery.changelog`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xxhash

VERSION = 1
_HEADER = 9
_APPLIED = struct.Struct("<q")
Bands = dict[str, list[str]]


class RowSchema(NamedTuple):
    """The fixed part of a changelog row: a packed dtype, the bands (by score) that its indexes mean, a hash of both."""

    dtype: np.dtype[np.void]
    bands: Bands
    digest: bytes

    def describe(self) -> bytes:
        """The layout as a changelog record."""
        return _describe(self.dtype, self.bands).encode()

    @classmethod
    def of(cls, fields: Sequence[Sequence[Any]], bands: Bands) -> RowSchema:
        """A layout of (field, dtype) or (field, dtype, shape) as `numpy.dtype.descr` has them."""
        dtype = np.dtype([(part[0], part[1], *map(tuple, part[2:])) for part in fields])
        return cls(dtype, bands, xxhash.xxh3_64_digest(_describe(dtype, bands).encode()))

    @classmethod
    def read(cls, record: bytes) -> RowSchema:
        """The layout that a changelog record describes."""
        described = json.loads(record)
        return cls.of(described["fields"], described["bands"])


def _describe(dtype: np.dtype[np.void], bands: Bands) -> str:
    return json.dumps({"fields": dtype.descr, "bands": bands})


def header_of(value: bytes) -> bytes:
    """What a changelog row begins with: version and layout."""
    return value[:_HEADER]


def row_schema_of(header: bytes, row_schemas: dict[bytes, RowSchema]) -> RowSchema:
    """The layout that a row's header names.

    Raises `RowSchemaError` when the version or layout is not known.
    """
    if len(header) < _HEADER or header[0] != VERSION:
        msg = f"row version {header[0] if header else 'none'}, this worker reads {VERSION}"
        raise RowSchemaError(msg)
    row_schema = row_schemas.get(header[1:])
    if row_schema is None:
        msg = f"row layout {header[1:].hex()} is not described in the changelog"
        raise RowSchemaError(msg)
    return row_schema


def row_age(value: bytes) -> int:
    """Events applied in a changelog row: the third field of every layout; -1 for a row too short to have one."""
    return _APPLIED.unpack_from(value, _HEADER + 8)[0] if len(value) >= _HEADER + 16 else -1


class RowSchemaError(ValueError):
    """A changelog row that can not be read."""
