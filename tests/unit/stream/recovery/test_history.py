"""The history record of a partition that gets rows from several: it claims what is true of all of them."""

from __future__ import annotations

import msgspec

from schemas.codecs import encode
from stream.recovery.history import HistoryRecord, SavedHistory, rebuilt_history, united_history

DAYS = {"a": 30, "b": 7}


def saved(record: HistoryRecord | None, policy: str | None = "p", *, has_rows: bool = True) -> SavedHistory:
    return SavedHistory(None if record is None else encode(record), policy, has_rows)


def united(*partitions: SavedHistory) -> HistoryRecord | None:
    value = united_history(partitions)
    return None if value is None else msgspec.json.decode(value, type=HistoryRecord)


def test_the_latest_moments_and_the_fewest_panes_are_united() -> None:
    first = HistoryRecord("p", "p", {"a": 30, "b": 7}, {"a": 100, "b": 5}, {"billing": 1})
    other = HistoryRecord("p", "p", {"a": 20, "c": 3}, {"a": 200}, {"billing": 9, "surveys": 2})
    assert united(saved(first), saved(other)) == HistoryRecord(
        "p", "p", {"a": 20}, {"a": 200, "b": 5}, {"billing": 9, "surveys": 2}
    )


def test_one_record_stays_as_it_is_and_none_stays_none() -> None:
    record = HistoryRecord("p", "q", DAYS, {"a": 100})
    assert united(saved(record, "q")) == record
    assert united(saved(None), saved(None, None, has_rows=False)) is None
    assert united(saved(record), saved(None, None, has_rows=False)) == msgspec.structs.replace(record, after="p")


def test_rows_without_a_record_keep_no_panes_that_are_known() -> None:
    known = HistoryRecord("p", "p", DAYS, {"a": 100})
    assert united(saved(known), saved(None)) == HistoryRecord("p", "p", {}, {"a": 100})
    overtaken = HistoryRecord("older", "oldest", DAYS, {"b": 3})  # a version without the record has saved since
    assert united(saved(known), saved(overtaken)) == HistoryRecord("p", "p", {}, {"a": 100})


def test_records_of_two_policies_count_for_every_policy() -> None:
    begun = HistoryRecord("new", "p", DAYS, {"a": 100})
    assert united(saved(begun), saved(HistoryRecord("p", "p", DAYS, {}))) == HistoryRecord(
        "new p", "p", DAYS, {"a": 100}
    )


def test_a_rebuild_has_a_record_only_if_records_are_gone() -> None:
    assert rebuilt_history({}) == []
    ((_, value),) = rebuilt_history({"billing": 7})
    assert msgspec.json.decode(value, type=HistoryRecord) == HistoryRecord("", "", {}, {}, {"billing": 7})
