"""The synthetic company: repeatable, ordered, valid events, and scenarios that move the default policy's scores."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from statistics import median

import msgspec
import pytest

from agents.demo.account_events import DAY_MS, HOUR_MS
from agents.demo.company import Company, Event
from agents.demo.names import account_id, company_names
from agents.demo.scenarios import SHARES, Scenario, shuffled_scenarios
from schemas.sources import BUILT_IN
from tests.oracle.engine import AccountScore, Record, final_scores

END_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
TEMPLATE = Path(__file__).parents[4] / "deploy" / "policies" / "template.toml"


@pytest.fixture(scope="module")
def company() -> Company:
    return Company(accounts=150, days=120, seed=7, end_ms=END_MS)


@pytest.fixture(scope="module")
def events(company: Company) -> list[Event]:
    return list(company)


def test_the_same_seed_gives_the_same_bytes(company: Company, events: list[Event]) -> None:
    assert list(company) == events
    assert list(Company(accounts=150, days=120, seed=7, end_ms=END_MS)) == events


def test_another_seed_or_another_end_gives_other_events(events: list[Event]) -> None:
    for other in (Company(150, 120, 8, end_ms=END_MS), Company(150, 120, 7, end_ms=END_MS + DAY_MS)):
        assert {event[3] for event in islice(other, 1000)}.isdisjoint(event[3] for event in events)


def test_the_default_company_has_a_quarter_to_half_a_million_events() -> None:
    company = Company(end_ms=END_MS)
    count = sum(1 for _ in company)
    assert 250_000 <= count <= 400_000
    assert abs(company.expected_events - count) <= 0.03 * count
    assert len(company.accounts) == 500


def test_events_come_in_order_within_whole_days_before_the_end(company: Company, events: list[Event]) -> None:
    assert all(before[2] <= after[2] for before, after in pairwise(events))
    assert company.end_ms == END_MS
    assert END_MS - 120 * DAY_MS == company.start_ms <= events[0][2]
    assert events[-1][2] < END_MS
    assert Company(2, 3, end_ms=END_MS - 1).end_ms == END_MS - DAY_MS


def test_every_event_is_valid_for_its_topic(events: list[Event]) -> None:
    decoders = {topic: msgspec.json.Decoder(source.event_type) for topic, source in BUILT_IN.of_topics.items()}
    for topic, account, time_ms, value in events:
        event = decoders[topic].decode(value)
        assert (event.account_id, event.time) == (account, time_ms)
    assert {event[0] for event in events} == BUILT_IN.of_topics.keys() - {"controls", "signals"}


def test_ids_are_unique(events: list[Event]) -> None:
    identities = {re.match(rb'\{"id":"([^"]+)"', event[3]) for event in events}
    assert len({match[1] for match in identities if match}) == len(events)


def test_a_profile_comes_before_the_other_events_of_its_account(company: Company, events: list[Event]) -> None:
    first_topics: dict[str, str] = {}
    for topic, account, _, _ in events:
        first_topics.setdefault(account, topic)
    assert set(first_topics.values()) == {"accounts"}
    assert first_topics.keys() == company.names().keys()


def test_most_usage_is_on_weekdays_in_office_hours(company: Company, events: list[Event]) -> None:
    offsets = {account.account_id: account.utc_offset_h for account in company.accounts}
    weekdays: Counter[int] = Counter()
    at_work = 0
    usage = [event for event in events if event[0] == "product-usage"]
    for _, account, time_ms, _ in usage:
        weekdays[datetime.fromtimestamp(time_ms / 1000, UTC).weekday()] += 1
        at_work += 7 <= (time_ms // HOUR_MS + offsets[account]) % 24 < 19
    assert weekdays[5] + weekdays[6] < 0.1 * len(usage)
    assert at_work > 0.9 * len(usage)


def test_accounts_have_several_users_and_features(events: list[Event]) -> None:
    users, features = defaultdict(set), defaultdict(set)
    for topic, account, _, value in events:
        if topic == "product-usage":
            event = msgspec.json.decode(value)
            users[account].add(event["user_id"])
            features[account].add(event["feature"])
    assert median(map(len, users.values())) >= 5
    assert median(map(len, features.values())) >= 5


@pytest.mark.parametrize("count", [1, 9, 50, 500])
def test_scenarios_have_their_shares(count: int) -> None:
    drawn = Counter(shuffled_scenarios(Random(3), count))
    assert drawn.total() == count
    assert sum(SHARES.values()) == pytest.approx(1)
    assert all(abs(drawn[scenario] - share * count) <= 1 for scenario, share in SHARES.items())


def test_every_scenario_has_accounts(company: Company) -> None:
    assert set(company.scenario_of().values()) == set(Scenario) == set(SHARES)


def test_names_and_ids_never_repeat() -> None:
    names = company_names(Random(1), 5_000)
    assert len({account_id(name) for name in names}) == 5_000
    assert all(re.fullmatch(r"[a-z0-9-]+", account_id(name)) for name in names)


@pytest.mark.parametrize(("accounts", "days"), [(0, 10), (10, 0), (-1, 5)])
def test_an_empty_company_is_rejected(accounts: int, days: int) -> None:
    with pytest.raises(ValueError, match="at least one account and one day"):
        Company(accounts, days, end_ms=END_MS)


@pytest.mark.parametrize(("accounts", "days"), [(1, 1), (1, 30), (20, 2)])
def test_small_companies_work(accounts: int, days: int) -> None:
    events = list(Company(accounts, days, end_ms=END_MS))
    assert all(END_MS - days * DAY_MS <= event[2] < END_MS for event in events)


def scores_after(events: list[Event], company: Company, day: int) -> dict[str, AccountScore]:
    """The default policy's scores at the end of that day of the run, computed from scratch."""
    as_of_ms = company.start_ms + day * DAY_MS - 1
    log = [
        Record(topic, 0, offset, time_ms, account.encode(), value)
        for offset, (topic, account, time_ms, value) in enumerate(events)
        if time_ms <= as_of_ms
    ]
    return final_scores(log, TEMPLATE.read_text(encoding="utf-8"), END_MS, as_of_ms)


def test_the_default_policy_distinguishes_the_scenarios(company: Company, events: list[Event]) -> None:
    early, late = scores_after(events, company, 35), scores_after(events, company, 120)
    shares = {band: count / len(late) for band, count in Counter(score.band for score in late.values()).items()}
    assert set(shares) == {"healthy", "attention", "at-risk"}
    assert min(shares.values()) >= 0.05
    moved: dict[Scenario, list[float]] = defaultdict(list)
    for account, scenario in company.scenario_of().items():
        if account in early:
            moved[scenario].append((late[account].value or 0) - (early[account].value or 0))
    typical = {scenario: median(moves) for scenario, moves in moved.items()}
    assert typical[Scenario.FADING] < -20
    assert typical[Scenario.SILENT] < -30
    assert typical[Scenario.PAYMENT_TROUBLE] < -10
    assert typical[Scenario.BAD_SURVEY] < -2
    assert typical[Scenario.GROWING] > 20
    assert typical[Scenario.RECOVERING] > 40
    assert abs(typical[Scenario.STEADY]) < 5
    storms = {account for account, scenario in company.scenario_of().items() if scenario is Scenario.TICKET_STORM}
    stormy = [event for event in events if event[1] in storms]
    lowest = [scores_after(stormy, company, day) for day in (50, 65, 80)]
    dips = [(early[account].value or 0) - min(scores[account].value or 0 for scores in lowest) for account in storms]
    assert median(dips) > 8
    new = [account for account, scenario in company.scenario_of().items() if scenario is Scenario.ONBOARDING]
    assert sum(account not in early for account in new) >= len(new) / 2
    assert median(late[account].value or 0 for account in new) > 70
