"""Rows of a score change: one for each factor, with everything else of the change in each."""

from __future__ import annotations

import msgspec

from schemas.outputs import FactorChange, Override, ScoreChange, ScoreRow
from stream.consumers.score_rows import rows_of

FACTORS = [FactorChange("usage", 45.0, 45.0, 0.0), FactorChange("tickets", 30.0, 10.0, -20.0)]
CHANGE = ScoreChange(
    "c1", "acme", 5, "health", 75.0, 55.0, "healthy", "attention", "event", FACTORS, "p@1", 7, True, None, None, "new"
)
OVERRIDE = Override("a call", 3, 9, band="healthy", by="kim")


def test_a_change_has_a_row_for_each_factor() -> None:
    rows = rows_of(CHANGE)
    assert [(row.change_id, row.factor_number, row.measure, row.points_delta) for row in rows] == [
        ("c1", 0, "usage", 0.0),
        ("c1", 1, "tickets", -20.0),
    ]
    assert sum(row.points_delta or 0.0 for row in rows) == CHANGE.to - CHANGE.from_
    assert {(row.score_from, row.score_to, row.band_from, row.band_to) for row in rows} == {
        (75.0, 55.0, "healthy", "attention")
    }
    assert {(row.changed_at, row.cause, row.policy, row.revision, row.catching_up, row.state_from) for row in rows} == {
        (5, "event", "p@1", 7, True, "new")
    }


def test_a_change_without_factors_has_one_row_without_a_measure() -> None:
    change = msgspec.structs.replace(CHANGE, factors=[], cause="override", override=OVERRIDE)
    (row,) = rows_of(change)
    assert (row.factor_number, row.measure, row.points_before, row.points_after, row.points_delta) == (
        *(0, None),
        *(None, None, None),
    )
    assert (row.override_reason, row.override_since, row.override_expires_at) == ("a call", 3, 9)
    assert (row.override_score, row.override_band, row.override_by) == (None, "healthy", "kim")


def test_every_field_of_a_change_and_of_an_override_is_in_a_row() -> None:
    columns = {"id": "change_id", "time": "changed_at", "from": "score_from", "to": "score_to"}
    names = {field.encode_name for field in msgspec.structs.fields(ScoreChange)} - {"factors", "override"}
    names = {columns.get(name, name) for name in names}
    names |= {f"override_{field.name}" for field in msgspec.structs.fields(Override)}
    names |= {"factor_number", "measure", "points_before", "points_after", "points_delta"}
    assert names == {field.name for field in msgspec.structs.fields(ScoreRow)}


def test_a_row_has_every_field_in_its_json() -> None:
    assert set(msgspec.to_builtins(rows_of(CHANGE)[0])) == {field.name for field in msgspec.structs.fields(ScoreRow)}
