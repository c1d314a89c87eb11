"""Define the nine scenarios of accounts: how usage, tickets, payments and mood develop day by day.

`agents.demo.company` and `agents.demo.account_events` turn these curves into events. Pure: all randomness comes from
the generator that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
"""A value for each day of the run."""


class Scenario(StrEnum):
    """How an account develops during the run."""

    ONBOARDING = "onboarding"
    STEADY = "steady"
    GROWING = "growing"
    FADING = "fading"
    SILENT = "silent"
    TICKET_STORM = "ticket storm"
    BAD_SURVEY = "bad survey"
    PAYMENT_TROUBLE = "payment trouble"
    RECOVERING = "recovering"


SHARES: dict[Scenario, float] = {
    Scenario.STEADY: 0.34,
    Scenario.GROWING: 0.11,
    Scenario.FADING: 0.13,
    Scenario.SILENT: 0.08,
    Scenario.TICKET_STORM: 0.08,
    Scenario.BAD_SURVEY: 0.07,
    Scenario.PAYMENT_TROUBLE: 0.08,
    Scenario.RECOVERING: 0.06,
    Scenario.ONBOARDING: 0.05,
}
"""Share of the accounts in each scenario; sums to 1."""


@dataclass(slots=True)
class Traits:
    """The behaviour of an account's users, as curves over the days of the run."""

    start_day: int
    """First day with any event; later than 0 for accounts that sign up during the run."""
    users: Curve
    """Users of the product."""
    tickets: Curve
    """Tickets opened per day."""
    severity: Curve
    """0 (all low) to 1 (all urgent)."""
    days_late: Curve
    """Days after the due date that an invoice of that day is paid."""
    engagement: Curve
    """Webinars, calls, posts and other meetings per day."""
    mood: Curve
    """Expected answer to an NPS survey, 0..10."""
    survey_days: list[int]
    """Days with an extra survey of three users."""


def shuffled_scenarios(random: Random, count: int) -> list[Scenario]:
    """`count` scenarios in proportion to `SHARES`, in random order."""
    scenarios = list(SHARES)
    exact = [SHARES[scenario] * count for scenario in scenarios]
    numbers = [int(share) for share in exact]
    by_remainder = sorted(range(len(scenarios)), key=lambda index: numbers[index] - exact[index])
    for index in by_remainder[: count - sum(numbers)]:
        numbers[index] += 1
    result = [scenario for scenario, number in zip(scenarios, numbers, strict=True) for _ in range(number)]
    random.shuffle(result)
    return result


def _ramp(days: int, begin: float, end: float, before: float, after: float) -> Curve:
    """`before` until day `begin`, `after` from day `end`, straight between."""
    return np.interp(np.arange(days), [begin, max(end, begin + 1)], [before, after])


def traits(scenario: Scenario, days: int, random: Random) -> Traits:
    """The curves of one account in that scenario over `days` days, with random variation."""
    quality = random.random()
    ordinary = Traits(
        start_day=0,
        users=np.full(days, 5.0 + 9.0 * quality + random.uniform(-1.5, 1.5)),
        tickets=np.full(days, random.uniform(0.02, 0.07)),
        severity=np.full(days, random.uniform(0.05, 0.3)),
        days_late=np.full(days, random.choice((0.0, 0.0, 1.0, 2.0, 4.0, 7.0))),
        engagement=np.full(days, 0.03 + 0.1 * quality * random.uniform(0.8, 1.2)),
        mood=np.full(days, 6.2 + 3.0 * quality),
        survey_days=[],
    )
    _CHANGES[scenario](ordinary, days, random)
    np.clip(ordinary.mood, 0, 10, out=ordinary.mood)
    return ordinary


def _steady(account: Traits, days: int, random: Random) -> None:
    """Nothing changes."""


def _growing(account: Traits, days: int, random: Random) -> None:
    """Usage, meetings and mood rise."""
    begin = days * random.uniform(0.15, 0.45)
    account.users = _ramp(days, begin, begin + days * 0.4, random.uniform(2, 4), random.uniform(11, 18))
    account.engagement = _ramp(days, begin, begin + days * 0.3, 0.02, random.uniform(0.12, 0.2))
    account.mood = _ramp(days, begin, begin + days * 0.4, random.uniform(6, 7.5), random.uniform(8.5, 9.5))


def _fading(account: Traits, days: int, random: Random) -> None:
    """Users leave gradually; invoices are paid later and later."""
    begin = days * random.uniform(0.25, 0.6)
    end = begin + days * random.uniform(0.2, 0.35)
    account.users = _ramp(days, begin, end, random.uniform(8, 12), random.uniform(0, 2))
    account.engagement = _ramp(days, begin, begin + days * 0.1, random.uniform(0.08, 0.12), 0.0)
    account.mood = _ramp(days, begin, end, random.uniform(6.5, 8.5), random.uniform(2.0, 4.5))
    account.days_late = _ramp(days, begin, end, random.uniform(0, 3), random.choice((5.0, 25.0, 40.0)))


def _silent(account: Traits, days: int, random: Random) -> None:
    """All usage stops from one day to the next; invoices are paid after reminders."""
    last_day = days * random.uniform(0.3, 0.65)
    account.users = _ramp(days, last_day, last_day + 1, random.uniform(7, 11), 0.0)
    account.tickets = _ramp(days, last_day, last_day + 1, float(account.tickets[0]), 0.0)
    account.engagement = _ramp(days, last_day, last_day + 1, random.uniform(0.06, 0.1), 0.0)
    account.days_late = _ramp(days, last_day - 20, last_day, random.uniform(0, 3), random.choice((20.0, 35.0, 45.0)))


def _ticket_storm(account: Traits, days: int, random: Random) -> None:
    """Two or three weeks with many urgent tickets, then back to normal."""
    begin = days * random.uniform(0.25, 0.5)
    for storm in range(random.choice((2, 2, 3))):
        first = int(begin + storm * days * random.uniform(0.14, 0.22))
        account.tickets[first : first + 4] += random.uniform(1.4, 2.8)
        account.severity[first : first + 4] = random.uniform(0.6, 0.95)
        account.mood[first:] -= random.uniform(0.3, 1.0)


def _bad_survey(account: Traits, days: int, random: Random) -> None:
    """Usage is steady, but surveys are bad."""
    account.users = np.full(days, random.uniform(5, 8))
    account.engagement *= 0.6
    day = int(days * random.uniform(0.3, 0.6))
    account.mood[day:] = random.uniform(0.5, 2.5)
    account.survey_days = [day, min(days - 1, day + int(days * 0.15))]


def _payment_trouble(account: Traits, days: int, random: Random) -> None:
    """Invoices are paid weeks late; usage may fall."""
    begin = days * random.uniform(0.15, 0.45)
    account.days_late = _ramp(days, begin, begin + 5, random.uniform(0, 4), random.uniform(28, 48))
    account.users *= random.choice((0.5, 0.8, 1.0))


def _recovering(account: Traits, days: int, random: Random) -> None:
    """Almost no usage at first, then everything improves."""
    begin = days * random.uniform(0.3, 0.5)
    end = begin + days * 0.2
    account.users = _ramp(days, begin, end, random.uniform(0.5, 2.5), random.uniform(9, 13))
    account.tickets = _ramp(days, begin, begin + 5, random.uniform(0.12, 0.25), 0.02)
    account.severity = _ramp(days, begin, begin + 5, 0.7, 0.1)
    account.engagement = _ramp(days, begin, begin + 7, 0.005, random.uniform(0.18, 0.3))
    account.days_late = _ramp(days, begin, begin + 3, random.uniform(15, 30), 0.0)
    account.mood = _ramp(days, begin, end, random.uniform(2, 4.5), random.uniform(8, 9.5))
    account.survey_days = [int(min(days - 1, end))]


def _onboarding(account: Traits, days: int, random: Random) -> None:
    """Signs up during the run."""
    account.start_day = int(days * random.uniform(0.15, 0.75))
    account.users = _ramp(days, account.start_day, account.start_day + 25, 1.0, random.uniform(6, 13))
    account.engagement = _ramp(days, account.start_day, account.start_day + 40, 0.4, 0.1)


_CHANGES = {
    Scenario.ONBOARDING: _onboarding,
    Scenario.STEADY: _steady,
    Scenario.GROWING: _growing,
    Scenario.FADING: _fading,
    Scenario.SILENT: _silent,
    Scenario.TICKET_STORM: _ticket_storm,
    Scenario.BAD_SURVEY: _bad_survey,
    Scenario.PAYMENT_TROUBLE: _payment_trouble,
    Scenario.RECOVERING: _recovering,
}
