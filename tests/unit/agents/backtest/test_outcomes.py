"""Outcomes as people export them: several rows for an account, dates or times, and mistakes that are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.backtest.outcomes import OutcomesError, instant_ms, read_outcomes

JANUARY_31_MS = 1_769_817_600_000  # date --utc --date 2026-01-31 +%s


def outcomes_of(folder: Path, text: str) -> Path:
    file = folder / "outcomes.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_rows_become_times_by_account(tmp_path: Path) -> None:
    file = outcomes_of(
        tmp_path,
        "\ufeffaccount_id, churned_at ,owner,renewed_at,expanded_at\n"
        "acme,2026-01-31,ann,,\n"
        '"birch, inc",,bob,2026-01-31T02:00:00+02:00,2026-02-01\n'
        '"birch, inc",,bob,2025-01-31T00:00:00Z,\n'
        "cedar,,,,\n"
        "acme,2026-01-30,ann,,\n",
    )
    outcomes = read_outcomes(file)
    assert outcomes.churned == {"acme": JANUARY_31_MS - 86_400_000}
    assert outcomes.renewed == {"birch, inc": [JANUARY_31_MS - 365 * 86_400_000, JANUARY_31_MS]}
    assert outcomes.expanded == {"birch, inc": [JANUARY_31_MS + 86_400_000]}
    assert outcomes.accounts == {"acme", "birch, inc", "cedar"}
    assert outcomes.last_ms == JANUARY_31_MS + 2 * 86_400_000 - 1  # the end of 1 February
    assert outcomes.bad == []


def test_invalid_rows_are_ignored_and_reported(tmp_path: Path) -> None:
    file = outcomes_of(
        tmp_path,
        "account_id,churned_at\nacme,soon\n,2026-01-31\nbirch,2026-01-31T10:00:00\ncedar,2026-01-31\ndate,31.01.2026\n",
    )
    outcomes = read_outcomes(file)
    assert list(outcomes.churned) == ["cedar"]
    assert [(line.line, line.reason) for line in outcomes.bad] == [
        (2, "invalid_time"),
        (3, "no_account"),
        (4, "invalid_time"),
        (6, "invalid_time"),
    ]
    assert "2026-01-31T12:00:00Z" in outcomes.bad[0].message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "it names nothing"),
        ("account_id,left_at\nacme,2026-01-31\n", "it names account_id, left_at"),
        ("account,churned_at\nacme,2026-01-31\n", "account_id"),
        ("account_id,churned_at,churned_at\nacme,,\n", "twice"),
    ],
)
def test_a_file_without_outcome_columns_is_rejected(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(OutcomesError, match=named):
        read_outcomes(outcomes_of(tmp_path, text))


def test_a_file_that_is_not_utf_8_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "outcomes.csv"
    file.write_bytes(b"account_id,churned_at\n\xff\xfe,\n")
    with pytest.raises(OutcomesError, match="UTF-8"):
        read_outcomes(file)


def test_a_date_covers_a_whole_day() -> None:
    assert instant_ms("2026-01-31") == JANUARY_31_MS
    assert instant_ms("2026-01-31", end=True) == JANUARY_31_MS + 86_399_999
    assert instant_ms("2026-01-31T01:00:00+01:00", end=True) == JANUARY_31_MS


def test_a_row_shorter_than_the_header_has_empty_fields(tmp_path: Path) -> None:
    outcomes = read_outcomes(outcomes_of(tmp_path, "account_id,churned_at,renewed_at\nacme\nbirch,2026-01-31\n"))
    assert (outcomes.churned, outcomes.bad) == ({"birch": JANUARY_31_MS}, [])
