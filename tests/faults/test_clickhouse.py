"""ClickHouse's engine, in this process, runs the statements of docs/how-to/read-scores-with-sql.md."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

from tests.pages.sql import lines_of, page_files, result_of

pytestmark = pytest.mark.faults

FILES = page_files()
TOPIC = re.compile(r"ENGINE = Kafka\nSETTINGS [^;]*")


@pytest.fixture
def session() -> Any:
    """An empty database."""
    opened = importlib.import_module("chdb.session").Session()
    opened.query("CREATE DATABASE page ENGINE = Atomic")
    opened.query("USE page")
    opened.query("SET input_format_skip_unknown_fields = 1")  # as the engine Kafka does
    return opened


def test_the_statements_of_the_page_fill_a_table_with_each_row_once(session: Any) -> None:
    statements, replaced = TOPIC.subn("ENGINE = Null", FILES["clickhouse.sql"])
    assert replaced == 1
    for statement in statements.split(";"):
        if statement.strip():
            session.query(statement)
    for _ in range(2):
        session.query(f"INSERT INTO score_changes_queue FORMAT JSONEachRow {FILES['changes.jsonl']}")
    answer = str(session.query(FILES["worst.sql"].strip().rstrip(";"), "PrettyCompactNoEscapes"))
    assert lines_of(answer) == result_of("worst.sql")
    factors = FILES["changes.jsonl"].count('"measure"')
    assert str(session.query("SELECT count() FROM score_rows FINAL")).strip() == str(factors)
