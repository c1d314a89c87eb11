"""The page about SQL shows what DuckDB and pandas print; its records are valid, and its numbers sum."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from jsonschema import Draft202012Validator

from schemas.catalog.documents import by_topic
from schemas.sources import BUILT_IN
from tests.pages.sql import PAGE, lines_of, page_files, result_of
from tests.pages.steps import Command, steps

FILES = page_files()
TOPICS = {"scores.jsonl": "health.scores", "changes.jsonl": "health.score-changes"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the page; a record without a value is an empty line."""
    for name, text in FILES.items():
        blank = "\n" if name in TOPICS else ""
        (tmp_path / name).write_text(text + blank, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["scores.sql", "changes.sql"])
def test_duckdb_answers_what_the_page_shows(folder: Path, name: str) -> None:
    with duckdb.connect() as connection:
        answer = str(connection.sql((folder / name).read_text(encoding="utf-8")))
    assert lines_of(answer) == result_of(name)


def test_duckdb_has_a_repeated_record_once(folder: Path) -> None:
    changes = folder / "changes.jsonl"
    changes.write_text(FILES["changes.jsonl"] * 2, encoding="utf-8")
    with duckdb.connect() as connection:
        answer = str(connection.sql(FILES["changes.sql"]))
    assert lines_of(answer) == result_of("changes.sql")


def test_pandas_prints_what_the_page_shows(folder: Path) -> None:
    (command,) = (step for step in steps(PAGE) if isinstance(step, Command) and step.text == "python changes.py")
    done = subprocess.run(
        [sys.executable, "changes.py"], cwd=folder, capture_output=True, text=True, check=True, timeout=300
    )
    assert command.prints(done.stdout)


@pytest.mark.parametrize("name", TOPICS)
def test_the_records_of_the_page_are_valid_and_their_numbers_sum(name: str) -> None:
    validator = Draft202012Validator(by_topic("json-schema", BUILT_IN)[TOPICS[name]])
    for line in FILES[name].splitlines():
        record = json.loads(line, parse_float=Decimal)
        validator.validate(json.loads(line))
        if "scores" in record:
            for score in record["scores"].values():
                assert sum(factor["contribution"] for factor in score["factors"]) == score["value"]
        else:
            assert sum(factor["delta"] for factor in record["factors"]) == record["to"] - record["from"]
