"""Row schema: the fields of a changelog row, their types and order, and the bands that its band numbers mean.

Owns `RowSchema`, its form as a changelog record, and how a row names its schema: by hash. Rows that another policy or
version wrote are read by field name. Called by `stream.accounts.row_codec` and `stream.recovery.changelog`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xxhash

VERSION = 1
HEADER_BYTES = 9
"""Bytes of the header of a row."""
_APPLIED = struct.Struct("<q")
Bands = dict[str, list[str]]


class RowSchema(NamedTuple):
    """The fixed-width fields of a changelog row: a packed dtype, band names by score, and a hash of both (8 bytes)."""

    dtype: np.dtype[np.void]
    bands: Bands
    digest: bytes

    def describe(self) -> bytes:
        """The schema as the value of a changelog record: JSON, whose XXH3-64 hash is `digest`."""
        return _describe(self.dtype, self.bands).encode()

    @classmethod
    def of(cls, fields: Sequence[Sequence[Any]], bands: Bands) -> RowSchema:
        """A schema of (field, dtype) or (field, dtype, shape) tuples, as in `numpy.dtype.descr`."""
        dtype = np.dtype([(name, kind, *map(tuple, shape)) for name, kind, *shape in fields])
        return cls(dtype, bands, xxhash.xxh3_64_digest(_describe(dtype, bands).encode()))

    @classmethod
    def read(cls, record: bytes, digest: bytes) -> RowSchema:
        """The schema in the value of a changelog record; `digest` is the hash in the record's key.

        Raises `RowSchemaError` when the value does not have this hash.
        """
        if xxhash.xxh3_64_digest(record) != digest:
            msg = f"row schema {digest.hex()}: the changelog record is damaged, its content has another hash"
            raise RowSchemaError(msg)
        described = json.loads(record)
        return cls.of(described["fields"], described["bands"])._replace(digest=digest)


def _describe(dtype: np.dtype[np.void], bands: Bands) -> str:
    return json.dumps({"fields": dtype.descr, "bands": bands})


def header_of(value: bytes) -> bytes:
    """The header of a changelog row: a version byte and the hash of the row schema (8 bytes)."""
    return value[:HEADER_BYTES]


def row_schema_of(header: bytes, row_schemas: dict[bytes, RowSchema]) -> RowSchema:
    """The schema that a row's header names, among `row_schemas` by hash.

    Raises `RowSchemaError` when the version is another or the schema is missing.
    """
    if len(header) < HEADER_BYTES or header[0] != VERSION:
        msg = f"row version {header[0] if header else 'missing'}, but this worker reads version {VERSION}"
        raise RowSchemaError(msg)
    row_schema = row_schemas.get(header[1:])
    if row_schema is None:
        msg = f"row schema {header[1:].hex()} is not in the changelog"
        raise RowSchemaError(msg)
    return row_schema


def row_age(value: bytes) -> int:
    """Number of events applied to a changelog row, the second field after the header in every schema; -1 if cut off."""
    return _APPLIED.unpack_from(value, HEADER_BYTES + 8)[0] if len(value) >= HEADER_BYTES + 16 else -1


class RowSchemaError(ValueError):
    """A changelog row or row schema that can not be read."""
