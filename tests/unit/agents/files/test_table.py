"""Cells of CSV: no text is a formula for a spreadsheet, and numbers stay numbers."""

from __future__ import annotations

import pytest

from agents.files.table import csv_cell


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30 1234", "'+49 30 1234"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1+1", "'\\t=1+1"),
        ("\r=1+1", "'\\r=1+1"),
        ("\n=1+1", "'\\n=1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("acme=1", "acme=1"),
        ("a-b", "a-b"),
        ("'acme", "'acme"),
        ("a\x1b[2J", "a\\x1b[2J"),
        ("", ""),
    ],
)
def test_a_text_that_begins_as_a_formula_has_an_apostrophe_before_it(text: str, cell: str) -> None:
    assert csv_cell(text) == cell


@pytest.mark.parametrize("value", [-5, -0.5, 1774655999999, None])
def test_numbers_and_what_is_missing_stay_as_they_are(value: float | None) -> None:
    assert csv_cell(value) is value
