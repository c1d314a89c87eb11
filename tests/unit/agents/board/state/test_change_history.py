"""The series and the change history of a score: which points and changes remain, and which are replaced."""

from __future__ import annotations

import msgspec

from agents.board.state.board import Record
from agents.board.state.change_history import ChangeHistory, NameTables, factors_of
from agents.board.state.series import NO_BAND, POINTS, Point, Series
from schemas.outputs import ScoreChange
from schemas.topics import DAY_MS
from tests.driving.boards import NOON, change

HOUR_MS = 3_600_000


def series_of(*points: tuple[int, float, int]) -> Series:
    series = Series()
    for time, value, band in points:
        series.append(Point(time, value, band, 0))
    return series


def decoded(record: Record) -> ScoreChange:
    assert record.value is not None
    return msgspec.json.decode(record.value, type=ScoreChange)


def history_of(*records: Record, limit: int = 200) -> tuple[ChangeHistory, NameTables, list[int | None]]:
    history, tables = ChangeHistory(), NameTables()
    return history, tables, [history.add(decoded(record), tables, limit) for record in records]


def steps(history: ChangeHistory) -> list[tuple[float, float]]:
    return [(step.from_, step.to) for step in reversed(list(history.newest_first()))]


def test_a_value_is_valid_until_the_next_point() -> None:
    series = series_of((10, 80.0, 0), (20, 60.0, 1))
    assert [series.value_at(time) for time in (9, 10, 19, 20, 99)] == [None, 80.0, 80.0, 60.0, 60.0]
    assert [series.band_at(time) for time in (9, 10, 20)] == [NO_BAND, 0, 1]


def test_before_the_first_point_the_earlier_value_is_returned() -> None:
    series = series_of((10, 80.0, 0))
    series.before, series.before_band = 75.0, 2
    assert (series.value_at(5), series.band_at(5)) == (75.0, 2)


def test_a_thinned_series_has_all_changes_of_band_and_the_newest_half() -> None:
    series = Series()
    for hour in range(3_000):
        series.append(Point(hour * HOUR_MS, float(hour % 7), 1 if 500 <= hour < 510 else 0, hour // 2_000))
    assert len(series) <= POINTS
    points = list(series.points())
    assert points == sorted(points)
    newest = range(3_000 - POINTS // 2 + 1, 3_000)
    assert [point.time // HOUR_MS for point in points][-len(newest) :] == list(newest)
    remaining = {point.time // HOUR_MS for point in points}
    assert {499, 500, 509, 510, 1_999, 2_000} <= remaining


def test_a_series_of_band_changes_only_drops_its_oldest_points() -> None:
    series = Series()
    for hour in range(POINTS * 2):
        series.append(Point(hour, float(hour), hour % 2, 0))
    first = next(series.points())
    assert len(series) <= POINTS
    assert series.value_at(0) == first.value - 1


def test_removed_points_take_their_changes_of_band_with_them() -> None:
    series, other = series_of((1, 80.0, 0), (2, 50.0, 1), (2, 30.0, 2)), series_of((1, 80.0, 0))
    series.pop(2)
    series.append(Point(3, 75.0, 0, 0))
    other.append(Point(3, 75.0, 0, 0))
    days = [2, 4]
    counted: list[dict[int, list[int]]] = [{}, {}]
    series.count_days(days, counted[0])
    other.count_days(days, counted[1])
    assert counted[0] == counted[1] == {0: [1, 0, 0]}


def test_days_are_counted_in_the_band_at_their_end() -> None:
    series = series_of((5, 80.0, 0), (10, 50.0, 1), (11, 80.0, 0), (30, 20.0, 2))
    totals: dict[int, list[int]] = {}
    series.count_days([10, 20, 30, 40], totals)
    # At 10 it has just become 1, at 20 it is 0 again, at 30 and 40 it is 2; each list holds differences.
    assert totals == {0: [0, 1, -1, 0, 0], 1: [1, -1, 0, 0, 0], 2: [0, 0, 1, 0, 0]}


def test_a_change_with_a_known_id_is_ignored() -> None:
    first, second = change("a", NOON, None, 80.0), change("a", NOON + 1_000, 80.0, 70.0)
    history, _, added = history_of(first, second, first, second)
    assert added == [0, 0, None, None]
    assert steps(history) == [(0.0, 80.0), (80.0, 70.0)]


def test_changes_published_again_in_other_groups_replace_the_first_ones() -> None:
    history, _, added = history_of(
        change("a", NOON, None, 80.0, revision=1),
        change("a", NOON + 1, 80.0, 70.0, revision=2),
        change("a", NOON + 2, 70.0, 60.0, revision=3),
        change("a", NOON + 2, 80.0, 60.0, revision=3, id="both at once"),
        change("a", NOON + 3, 60.0, 50.0, revision=4),
    )
    assert added == [0, 0, 0, 2, 0]
    assert steps(history) == [(0.0, 80.0), (80.0, 60.0), (60.0, 50.0)]


def test_a_change_of_the_same_revision_that_joins_is_a_new_one() -> None:
    history, _, added = history_of(
        change("a", NOON, None, 80.0, revision=1), change("a", NOON, 80.0, 80.0, revision=1, id="b", cause="override")
    )
    assert added == [0, 0]
    assert len(history) == 2


def test_a_gap_between_changes_remains() -> None:
    history, _, _ = history_of(change("a", NOON, None, 80.0, revision=1), change("a", NOON + 1, 60.0, 50.0, revision=5))
    assert steps(history) == [(0.0, 80.0), (60.0, 50.0)]


def test_a_history_above_its_limit_drops_the_oldest_changes() -> None:
    records = [change("a", NOON + hour, float(hour - 1), float(hour), revision=hour) for hour in range(100)]
    history, _, _ = history_of(*records, limit=20)
    assert 20 <= len(history) <= 25
    assert steps(history)[-1] == (98.0, 99.0)


def test_factors_are_sorted_by_size_without_those_that_did_not_change() -> None:
    history, tables, _ = history_of(change("a", NOON, 80.0, 70.0, deltas={"nps": -2.0, "usage": -8.0, "billing": 0.0}))
    (step,) = history.newest_first()
    assert [(factor.measure, factor.delta) for factor in factors_of(step, tables)] == [("usage", -8.0), ("nps", -2.0)]


def test_between_returns_the_change_before_and_those_up_to_the_end() -> None:
    history, _, _ = history_of(*(change("a", NOON + hour * DAY_MS, hour * 1.0, hour + 1.0) for hour in range(5)))
    base, inside = history.between(NOON + DAY_MS, NOON + 3 * DAY_MS)
    assert base is not None
    assert base.to == 2.0
    assert [step.to for step in inside] == [3.0, 4.0]
    assert history.between(NOON - 1, NOON)[0] is None
