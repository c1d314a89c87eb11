"""Which accounts count at which cutoff, and the report of a few accounts, computed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents.backtest.episodes import NEVER_MS
from agents.backtest.replay import Grid, TooShortError, make_grid
from agents.backtest.report import Report
from agents.backtest.run import Request, run_backtest
from agents.backtest.study import KnownChurn, Samples, rfc3339
from agents.files.replay import read_events
from stream.policy.policy import parse_policy

DAY_MS = 86_400_000
START = 20_000  # days since 1970: 2024-10-04

POLICY = """
name = "small"
[measures.taking_part]
source = "engagement"
stat = "count"
window = "7d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 4 }
weight = 3
[measures.mood]
source = "surveys"
stat = "last"
field = "score"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
missing = 50
[scores.health]
min_change = 1
bands = [{ name = "fine", from = 50 }, { name = "poor", from = 0, alert = "warning" }]
"""


def line(account: str, day: float, identity: str) -> str:
    time_ms = int((START + day) * DAY_MS)
    return json.dumps({"id": identity, "account_id": account, "time": time_ms, "kind": "webinar"})


def day(number: float) -> str:
    return rfc3339(int((START + number) * DAY_MS))


def end(number: int) -> str:
    """The end of a day, which is a cutoff or the moment of an alarm."""
    return rfc3339((START + number + 1) * DAY_MS - 1)


def report_of(folder: Path, lines: list[str], outcomes: str, **options: object) -> Report:
    (folder / "engagement.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "outcomes.csv").write_text(outcomes, encoding="utf-8")
    selected: dict = {"leads": [7], "every": 7, **options}
    policy = (folder / "small.toml", parse_policy(POLICY))
    request = Request([folder / "engagement.jsonl"], folder / "outcomes.csv", [policy], **selected)
    return run_backtest(request).report


def samples_of(lead: int) -> list[tuple[int, int, bool]]:
    """(cutoff, account, churned) by days, for four accounts at cutoffs 0, 7 and 14, of which day 24 is known."""
    grid = Grid(np.arange(21) * DAY_MS, 7, {name: column for column, name in enumerate("abcd")}, 21 * DAY_MS)
    # a goes on day 10, b and c stay, d goes exactly at the second cutoff; c has its first event after the first.
    churn = np.array([10 * DAY_MS, NEVER_MS, NEVER_MS, 7 * DAY_MS])
    born = np.ones((3, 4), dtype=bool)
    born[0, 2] = False
    samples = Samples(grid, KnownChurn(churn, 24 * DAY_MS), lead, born)
    days = samples.cutoff * 7
    return list(zip(days.tolist(), samples.account.tolist(), samples.churned.tolist(), strict=True))


def test_labels_and_censoring() -> None:
    expected = [(0, 0, False), (0, 1, False), (0, 3, True)]
    assert samples_of(7) == [*expected, (7, 0, True), (7, 1, False), (7, 2, False), (14, 1, False), (14, 2, False)]
    # Fourteen days from day 14 on are not known by day 24, so that the third cutoff is out.
    assert samples_of(14) == [(0, 0, True), (0, 1, False), (0, 3, True), (7, 0, True), (7, 1, False), (7, 2, False)]
    # Ten days from day 14 on just are.
    assert samples_of(10)[-2:] == [(14, 1, False), (14, 2, False)]
    assert samples_of(25) == []


def test_a_report_by_hand(tmp_path: Path) -> None:
    """Two accounts take part four times a week for eight weeks; one stops after the fourth and churns on day 42.

    With four events in seven days the score is (3 * 100 + 1 * 50) / 4 = 87.5, with none 12.5. The end of day 28 counts
    events of days 22 to 28, that of day 35 events of days 29 to 35.
    """
    offsets = (0.5, 2.5, 4.5, 6.5)
    lines = [line("stays", week * 7 + offset, f"s{week}-{offset}") for week in range(9) for offset in offsets]
    lines += [line("goes", week * 7 + offset, f"g{week}-{offset}") for week in range(4) for offset in offsets]
    churned = f"account_id,churned_at,expanded_at\ngoes,{day(42)},\nstays,,{day(45)}\nnobody,{day(3)},\n"
    report = report_of(tmp_path, lines, churned, leads=[7, 14])
    # The first event is on day 0; the last is at day 62.5, after the end of day 61.
    assert (report.data.first_cutoff, report.data.last_cutoff) == (end(0), end(56))
    assert (report.data.cutoffs, report.data.accounts, report.data.churned) == (9, 2, 1)
    week, fortnight = report.leads
    # The ends of days 0, 7, ... 49 have a week known after them by day 62.5 (56 has not): 8 for the one that stays, 6
    # (up to 35) for the other.
    assert (week.cutoffs, week.samples, week.churned_samples, week.base_rate) == (8, 14, 1, 1 / 14)
    assert (fortnight.cutoffs, fortnight.samples, fortnight.churned_samples) == (7, 13, 2)
    # At the end of day 35 the one that goes has had nothing in seven days: 12.5, the lowest of all samples.
    assert week.auc["A"].value == 1.0
    assert week.auc["recency"].value == 1.0
    # The expansion is in the week after day 42, where the score is 87.5. Of the 13 other samples nine have it too; both
    # on day 0 (31.25) and the one that goes on days 28 (three events, 68.75) and 35 have less: (4 + 9 / 2) / 13.
    assert week.expanded_auc["A"] == pytest.approx(8.5 / 13)
    assert week.renewed_auc == {"A": None, "recency": None}
    poor, fine = week.bands["A"]
    assert (poor.band, poor.alerting, poor.churned, fine.churned) == ("poor", True, 1, 0)
    review = report.reviews[0]
    assert (review.account_id, review.churned_at) == ("goes", day(42))
    by_policy = review.policies["A"]
    # -30 days is the end of day 11, four events in days 5 to 11: 6.5, 7.5, 9.5, 11.5. Days 34 and 41 hold none.
    assert by_policy.scores == {"90": None, "60": None, "30": 87.5, "7": 12.5, "0": 12.5}
    # The window of day 32 (26 to 32) holds 27.5 only, of day 31 (25 to 31) 25.5 too: 2 events are
    # (3 * 50 + 50) / 4 = 50, which is fine; one event is 31.25.
    assert by_policy.entered_alerting_at == end(32)
    assert by_policy.warning_days == pytest.approx(9.0)
    assert [(factor.measure, factor.cost, factor.cost_before) for factor in by_policy.factors] == [
        ("taking_part", 75.0, 0.0),
        ("mood", 12.5, 12.5),
    ]
    alarms = report.alarms["A"]
    assert (alarms.churned, alarms.warned) == (1, 1)
    assert alarms.median_warning_days == pytest.approx(9.0)
    # Both begin with too few events for two days, and nothing comes of it. A fortnight is known after days up to 47:
    # 48 of the one that stays, 42 of the one that is gone on day 42.
    assert (alarms.episodes, alarms.followed_by_churn, alarms.false_alarms, alarms.undecided) == (3, 1, 2, 0)
    assert alarms.false_alarms_per_account_year == pytest.approx(2 / (90 / 365.25))
    assert (alarms.flaps, alarms.flaps_per_account_year) == (0, 0.0)
    assert report.data.outcomes_without_events == 1


def test_an_account_that_churned_before_its_first_event_is_left_out(tmp_path: Path) -> None:
    lines = [line("a", number, f"a{number}") for number in range(40)]
    lines += [line("back", number, f"b{number}") for number in range(20, 40)]
    report = report_of(tmp_path, lines, f"account_id,churned_at\nback,{day(10)}\na,{day(30)}\n")
    assert [review.account_id for review in report.reviews] == ["a"]
    assert report.data.churned == report.alarms["A"].churned == 1
    assert report.leads[0].accounts == 1


def test_ignored_lines_are_counted_by_reason(tmp_path: Path) -> None:
    lines = [line("a", number, str(number)) for number in range(20)]
    seconds = json.dumps({"id": "s", "account_id": "a", "time": START * DAY_MS // 1000, "kind": "webinar"})
    bad = ["nonsense", seconds, "{}", "[]", line("a", 3, "3")]
    report = report_of(tmp_path, [*bad, *lines], "account_id,churned_at\na,never\n")
    counts = {ignored.reason: ignored.count for ignored in report.data.ignored}
    assert counts["invalid_time"] == 1
    assert counts["implausible_time"] == 1
    assert counts["malformed_json"] == 1
    assert sum(counts.values()) == 5
    assert report.data.duplicates == 1
    assert "engagement.jsonl:1" in next(
        ignored.example for ignored in report.data.ignored if ignored.reason == "malformed_json"
    )
    # The event of 1970 neither begins the days nor counts.
    assert report.data.first_cutoff == end(0)


def test_until_and_since_limit_the_days(tmp_path: Path) -> None:
    lines = [line("a", number + 0.5, str(number)) for number in range(60)]
    churned = f"account_id,churned_at\na,{day(50)}\n"
    since, until = (START + 14) * DAY_MS, (START + 40) * DAY_MS
    report = report_of(tmp_path, lines, churned, since_ms=since, until_ms=until)
    assert (report.data.first_cutoff, report.data.last_cutoff) == (end(14), end(35))
    assert report.data.events == 40
    assert (report.data.churned, report.leads[0].churned_samples) == (0, 0)
    assert report.leads[0].auc["A"].value is None


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (20, "3 of 3 cutoffs are less than the longest window (30 days) after the first event"),
        (60, "5 of 9 cutoffs are less than the longest window (30 days) after the first event"),
    ],
)
def test_the_note_on_incomplete_scores_recommends_since_only_if_cutoffs_remain(
    tmp_path: Path, days: int, expected: str
) -> None:
    lines = [line("a", number + 0.5, str(number)) for number in range(days)]
    note = report_of(tmp_path, lines, "account_id,churned_at\n").notes[0]
    assert note.startswith(expected)
    assert ("use --since" in note) == (days == 60)
    assert ("use more history" in note) == (days == 20)


def test_events_within_one_day_are_too_short(tmp_path: Path) -> None:
    file = tmp_path / "engagement.jsonl"
    file.write_text(line("a", 0.2, "1") + "\n" + line("a", 0.9, "2"), encoding="utf-8")
    with pytest.raises(TooShortError, match="no day ends"):
        make_grid(read_events([file], []), 7)
    with pytest.raises(TooShortError, match="no usable event"):
        make_grid([], 7)
