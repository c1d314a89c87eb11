"""Rows of a changelog are read some at a time, and one that is cut is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from stream.columns.row_schema import VERSION, RowSchema, RowSchemaError
from stream.recovery import collected, saved_rows
from stream.recovery.collected import Namespace
from stream.recovery.saved_rows import rows_by_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stream.recovery.listing import Listing

FIELDS = [("version", "|u1"), ("layout", "|V8"), ("as_of", "<i8"), ("applied", "<i8"), ("clock/usage", "<i8")]
SCHEMA = RowSchema.of(FIELDS, {})
OTHER = RowSchema.of([*FIELDS, ("passed", "<i8")], {})
GONE = RowSchema.of([*FIELDS, ("gone", "<i8")], {})
SCHEMAS = {schema.digest: schema for schema in (SCHEMA, OTHER)}


def row(schema: RowSchema, as_of: int, applied: int, clock: int, *rest: int) -> bytes:
    return np.array([(VERSION, schema.digest, as_of, applied, clock, *rest)], dtype=schema.dtype).tobytes()


RECORDS = {
    b"ra": row(SCHEMA, 5, 1, 3),
    b"rb": row(OTHER, 6, 0, 9, 4) + b"\n\n{}",
    b"rc": row(SCHEMA, 7, 0, 8) + b"text",
    b"rd": row(SCHEMA, 4, 2, 2),
}


@pytest.fixture(params=["native", "python"], autouse=True)
def _library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read alike from a table of the native library, and without it."""
    if request.param == "python":
        monkeypatch.setattr(collected, "load", lambda: None)


def listing(records: Mapping[bytes, bytes]) -> Listing:
    return Namespace.of(records).rows.listing()


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_all_rows_are_read_whatever_is_read_at_once(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(saved_rows, "_ROWS_AT_ONCE", at_once)
    first, second = rows_by_schema(listing(RECORDS), SCHEMAS)
    assert (first.accounts, second.accounts) == (["a", "c", "d"], ["b"])
    assert np.concatenate([each.record["as_of"] for each in first.read()]).tolist() == [5, 7, 4]
    assert [text for each in (*first.read(), *second.read()) for text in each.texts] == [(1, b"text"), (0, b"\n\n{}")]
    assert first.latest == {"as_of": 7, "clock/usage": 8}
    assert first.latest_with_events == {"as_of": 5, "clock/usage": 3}
    assert (first.has_events, second.has_events) == (True, False)
    assert (first.saved_ms("usage"), first.saved_ms("billing"), second.saved_ms("usage")) == (3, None, None)
    assert second.latest["passed"] == 4


def test_a_row_that_is_cut_is_named_also_where_two_are_as_long_as_whole_ones() -> None:
    half = len(RECORDS[b"ra"]) // 2
    cut = RECORDS | {b"ra": RECORDS[b"ra"][:half], b"rd": RECORDS[b"rd"] + RECORDS[b"ra"][half:]}
    with pytest.raises(RowSchemaError, match=f"row of account 'a': it is cut: {half} bytes, not {half * 2 + 1}"):
        rows_by_schema(listing(cut), SCHEMAS)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "row version missing, but this worker reads version 1"),
        (b"\x01short", "row version 1, but this worker reads version 1"),
        (b"\x07" + row(SCHEMA, 5, 1, 3)[1:], "row version 7, but this worker reads version 1"),
        (
            row(RowSchema.of([*FIELDS, ("gone", "<i8")], {}), 5, 1, 3, 4),
            "row schema [0-9a-f]{16} is not in the changelog",
        ),
    ],
)
def test_a_row_whose_schema_is_not_known_is_named(value: bytes, why: str) -> None:
    with pytest.raises(RowSchemaError, match=f"^changelog row of account 'c': {why}"):
        rows_by_schema(listing(RECORDS | {b"rc": value}), SCHEMAS)
