"""The days of a time zone: scores, outcomes and alerts are those of the oracle, with days of 23, 24 and 25 hours."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.columns.calendar import Calendar
from stream.engine.engine import Mode
from tests.driving.alerts import Observed, WatchedAlerts, assert_open_at_boundaries
from tests.driving.crashes import Crashing, live_through
from tests.driving.engine import CATCHING_UP, cuts, driven, partitions, plan_of, plausible_logs
from tests.driving.scores import Message, WatchedScores, assert_same_scores, messages_of
from tests.oracle.alerts import alerts_at_boundaries
from tests.oracle.engine import boundary_scores_all, final_scores_all, outcomes
from tests.oracle.zones import DAY_MS, EPOCH, date_in, in_zone, limited, log_in_zone, midnight_ms
from tests.strategies.alerts import alerting_logs, alerting_policies
from tests.strategies.effort import examples
from tests.strategies.policies import NOW_MS, RICH
from tests.strategies.rich_policies import rich_policies

if TYPE_CHECKING:
    from tests.oracle.engine import Record

ZONES = (
    "America/New_York",  # 2024-11-03 has 25 hours
    "Europe/Berlin",  # 2024-10-27 has 25 hours
    "Africa/Cairo",  # clocks are put back at midnight: 2024-10-31 has 25 hours
    "America/Asuncion",  # clocks are put forward at midnight: 2024-10-06 begins at 01:00 and has 23 hours
    "Australia/Sydney",  # 2024-10-06 has 23 hours
    "Australia/Lord_Howe",  # 2024-10-06 has 23 hours and a half
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Pacific/Kiritimati",  # UTC+14
    "Pacific/Pago_Pago",  # UTC-11
)
DAYS = ("1d", "2d", "7d", "30d", "45d")
HOUR_MS = DAY_MS // 24
LATEST_MS = NOW_MS - 2 * DAY_MS
zones = st.sampled_from(ZONES)


def with_zone(policy_text: str, zone: str) -> str:
    if "[calendar]" in policy_text:
        return policy_text.replace("[calendar]", f'[calendar]\ntimezone = "{zone}"')
    return f'{policy_text}\n[calendar]\ntimezone = "{zone}"\n'


def timely_logs() -> st.SearchStrategy[list[Record]]:
    return plausible_logs(invalid=False, **RICH).map(lambda log: limited(log, LATEST_MS))


@settings(max_examples=examples(30))
@given(st.data(), zones, timely_logs(), rich_policies(windows=DAYS, kept_bands=False), st.sampled_from(CATCHING_UP))
def test_scores_and_outcomes_are_those_of_the_same_days_in_utc(
    data: st.DataObject, zone: str, log: list[Record], policy_text: str, catching_up: Mode
) -> None:
    plan = plan_of(with_zone(policy_text, zone))
    messages: dict[str, Message] = {}
    counted: Counter[tuple[str, str]] = Counter()
    for records in partitions(log_in_zone(zone, log, LATEST_MS)).values():
        drive = driven(data.draw(cuts(records, (Mode.HEAD, catching_up))), plan)
        messages |= messages_of(drive.engine)
        counted += drive.outcomes
    assert_same_scores(messages, final_scores_all(log, policy_text, NOW_MS), policy_text)
    assert counted == outcomes(log, policy_text, NOW_MS)


@settings(max_examples=examples(30))
@given(st.data(), zones, timely_logs(), rich_policies(windows=DAYS))
def test_scores_at_every_midnight_of_the_zone(
    data: st.DataObject, zone: str, log: list[Record], policy_text: str
) -> None:
    plan = plan_of(with_zone(policy_text, zone))
    expected = boundary_scores_all(log, policy_text, NOW_MS)
    for partition, records in partitions(log_in_zone(zone, log, LATEST_MS)).items():
        engine = driven(data.draw(cuts(records, (Mode.HEAD,))), plan, kind=WatchedScores).engine
        assert isinstance(engine, WatchedScores)
        last: dict[str, Message] = {}
        for (number, boundary_ms), scores in sorted(expected.items()):
            if number == partition:
                # Boundaries that the engine leaves out, as nothing could change any more, repeat the last one.
                last = engine.messages.get(in_zone(zone, boundary_ms), last)
                assert_same_scores(last, scores, policy_text, boundary_ms)


@settings(max_examples=examples(30))
@given(st.data(), zones, alerting_policies("d", idle_sources=False), alerting_logs("d"))
def test_alerts_open_at_every_midnight_of_the_zone(
    data: st.DataObject, zone: str, policy_text: str, log: list[Record]
) -> None:
    log = limited(log, LATEST_MS)
    for records in partitions(log_in_zone(zone, log, LATEST_MS)).values():
        drive = Observed(WatchedAlerts(plan_of(with_zone(policy_text, zone))))
        for step in data.draw(cuts(records, (Mode.HEAD, Mode.EXACT))):
            drive.turn_to(step.mode)
            drive.take(step.records)
            if step.flush:
                drive = drive.restarted()
                drive.flush()
        drive.turn_to(Mode.HEAD)
        drive.flush()
        assert isinstance(drive.engine, WatchedAlerts)
        expected = alerts_at_boundaries(log, policy_text, NOW_MS)
        moved = {(number, in_zone(zone, at_ms)): episodes for (number, at_ms), episodes in expected.items()}
        assert_open_at_boundaries(drive.engine, moved)
        assert drive.engine.open_at.keys() >= {at_ms for _, at_ms in moved}


@settings(max_examples=examples(30))
@given(
    st.data(),
    zones,
    plausible_logs(partitions=1, invalid=False, **RICH).map(lambda log: limited(log, LATEST_MS)),
    rich_policies(windows=DAYS, kept_bands=False),
    st.sampled_from(((Mode.HEAD,), (Mode.HEAD, Mode.CONFLATED), (Mode.EXACT,))),
)
def test_after_crashes_the_days_are_those_of_the_zone(
    data: st.DataObject, zone: str, log: list[Record], policy_text: str, modes: tuple[Mode, ...]
) -> None:
    (records,) = partitions(log_in_zone(zone, log, LATEST_MS)).values()
    worker = Crashing(plan_of(with_zone(policy_text, zone)), records)
    live_through(data, worker, modes)
    assert_same_scores(messages_of(worker.drive.engine), final_scores_all(log, policy_text, NOW_MS), policy_text)
    assert +worker.drive.engine.settled == outcomes(log, policy_text, NOW_MS)


# ---------------------------------------------------------------------------------------------------------------------
# Days themselves

MODERN_MS = 946_684_800_000  # 2000-01-01
moments = st.integers(MODERN_MS, MODERN_MS + 90 * 365 * DAY_MS)


@settings(max_examples=examples(300))
@given(st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"})), moments)
def test_the_day_of_a_time_is_its_date(zone: str, time_ms: int) -> None:
    calendar = Calendar(timezone=zone)
    day = calendar.pane_of(time_ms, "day")
    start_ms, end_ms = calendar.start_ms(day, "day"), calendar.day_end(time_ms)
    assert start_ms <= time_ms <= end_ms
    on = (EPOCH + timedelta(days=day)).date()
    # Where clocks are put back over midnight, the date is that of the day before for a second time.
    assert date_in(zone, time_ms) in {on, on - timedelta(days=1)}
    assert date_in(zone, start_ms) == on
    assert date_in(zone, start_ms - 1) < on
    assert date_in(zone, end_ms + 1) > on
    assert [calendar.boundary_number(at_ms, "day") for at_ms in (start_ms, start_ms + 1)] == [day, day + 1]


@settings(max_examples=examples(100))
@given(zones, moments)
def test_midnights_are_where_the_oracle_finds_them(zone: str, time_ms: int) -> None:
    calendar, day = Calendar(timezone=zone), time_ms // DAY_MS
    assert calendar.start_ms(day, "day") == midnight_ms(zone, day)
    assert calendar.midnights_after(midnight_ms(zone, day), 2) == [midnight_ms(zone, day + each) for each in (1, 2)]


MIXED = """
name = "mixed"
{calendar}
[status]
dormant_after = "365d"
[measures.hours]
source = "product-usage"
stat = "count"
window = "30h"
weight = 1
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 20 }}
[measures.days]
source = "product-usage"
stat = "count"
window = "2d"
weight = 1
normalise = {{ kind = "linear", zero_at = 0, hundred_at = 20 }}
[scores.health]
min_change = 0
bands = [{{ name = "fine", from = 50 }}, {{ name = "poor", from = 0 }}]
"""


@settings(max_examples=examples(6))
@given(
    st.data(),
    zones.filter(lambda zone: Calendar(timezone=zone).begins_at_full_hours),
    plausible_logs(partitions=1, invalid=False, max_events=12),
)
def test_hours_stay_hours_of_utc_beside_the_days_of_a_zone(data: st.DataObject, zone: str, log: list[Record]) -> None:
    """At every full hour: hours are those of a policy without the zone, days those of one without hours."""
    calendar = f'[calendar]\ntimezone = "{zone}"'
    both, in_utc = (MIXED.format(calendar=chosen) for chosen in (calendar, ""))
    in_days = both.replace('"30h"', '"1d"')
    (records,) = partitions(log).values()
    seen: list[WatchedScores] = []
    for text in (both, in_utc, in_days):
        engine = driven(data.draw(cuts(records, (Mode.HEAD,))), plan_of(text), kind=WatchedScores).engine
        assert isinstance(engine, WatchedScores)
        seen.append(engine)
    mixed, utc, days = seen
    common = mixed.messages.keys() & utc.messages.keys()
    for at_ms in common:
        assert values_of(mixed.messages[at_ms], "hours") == values_of(utc.messages[at_ms], "hours")
    for at_ms in days.messages.keys() & mixed.messages.keys():
        assert values_of(mixed.messages[at_ms], "days") == values_of(days.messages[at_ms], "days")
    if mixed.as_of is not None:
        assert {at_ms for at_ms in days.messages if at_ms % HOUR_MS} == set()
        final = [messages_of(engine) for engine in seen]
        assert values_of(final[0], "hours") == values_of(final[1], "hours")
        assert values_of(final[0], "days") == values_of(final[2], "days")


def values_of(messages: dict[str, Message], measure: str) -> dict[str, float | None]:
    """The value of a measure of each account that has a score."""
    factors = {account: message["scores"]["health"]["factors"] for account, message in messages.items()}
    return {
        account: factor["value"] for account, each in factors.items() for factor in each if factor["measure"] == measure
    }
