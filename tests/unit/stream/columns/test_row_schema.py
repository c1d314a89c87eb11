"""Row schemas in the changelog: read back as written, refused when the content does not belong to the key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream.accounts.row_codec import row_schema_of_accounts
from stream.columns.row_schema import RowSchema, RowSchemaError, row_age, row_schema_of
from stream.engine.engine import Engine
from stream.recovery.changelog import restore
from tests.driving.engine import plan_of

TEMPLATE = Path(__file__).parents[4] / "deploy/policies/template.toml"
SCHEMA = RowSchema.of([("version", "|u1"), ("ring", "|i1", (30,))], {"health": ["poor", "good"]})


def test_a_schema_is_read_back_as_it_was_described() -> None:
    read = RowSchema.read(SCHEMA.describe(), SCHEMA.digest)
    assert read == SCHEMA
    assert read.dtype == np.dtype([("version", "u1"), ("ring", "i1", (30,))])


@pytest.mark.parametrize("record", [SCHEMA.describe() + b" ", SCHEMA.describe().replace(b"30", b"31"), b"", b"no JSON"])
def test_content_that_does_not_match_its_hash_is_refused_with_the_key(record: bytes) -> None:
    with pytest.raises(RowSchemaError, match=f"row schema {SCHEMA.digest.hex()}.*damaged"):
        RowSchema.read(record, SCHEMA.digest)


def test_restore_refuses_a_damaged_row_schema_record() -> None:
    engine = Engine(plan_of(TEMPLATE.read_text(encoding="utf-8")))
    schema = row_schema_of_accounts(engine.accounts)
    row = b"\x01" + schema.digest + bytes(schema.dtype.itemsize - 9)
    damaged = schema.describe().replace(b'"applied"', b'"aplied_"')
    with pytest.raises(RowSchemaError, match=schema.digest.hex()):
        restore(engine, {b"l" + schema.digest: damaged, b"racme": row})


@pytest.mark.parametrize("header", [b"", b"\x02" + SCHEMA.digest, b"\x01" + bytes(8), b"\x01"])
def test_a_row_of_an_unknown_version_or_schema_is_refused(header: bytes) -> None:
    with pytest.raises(RowSchemaError, match=r"version|not in the changelog"):
        row_schema_of(header, {SCHEMA.digest: SCHEMA})


def test_row_age_is_the_number_of_applied_events() -> None:
    header = b"\x01" + SCHEMA.digest
    assert row_age(header + (5).to_bytes(8, "little") + (18).to_bytes(8, "little")) == 18
    assert row_age(header) == -1
