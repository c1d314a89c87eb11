"""Generate the events of a synthetic company's accounts over a few months.

Generates usage events and merges in the less frequent ones from `agents.demo.account_events`; the curves behind both
are in `agents.demo.scenarios`. Does not use brokers, policies or clocks: the same arguments give the same bytes. Called
by `agents.demo.run` and by tests that need realistic events.

Nearly all events are usage, so a day of usage is drawn as columns and each event is one bytes format.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np
from numpy.typing import NDArray

from agents.demo.account_events import DAY_MS, HOUR_MS, Account, AccountEvent, AccountEvents
from agents.demo.names import OWNERS, account_id, company_names
from agents.demo.scenarios import Scenario, shuffled_scenarios, traits

Event = tuple[str, str, int, bytes]
"""Topic, account id, event time in epoch milliseconds, JSON."""

USAGE = "product-usage"
EVENTS_PER_USER_DAY = 0.85
WEEKDAYS = (1.0, 1.05, 1.05, 1.0, 0.85, 0.12, 0.08)
"""Monday first."""
FEATURES = ("dashboards", "reports", "search", "exports", "automations", "sharing", "api", "settings")
ACTIONS = ("open", "create", "edit", "run")
UTC_OFFSETS_H = (-8, -5, -5, 0, 0, 1, 1, 1, 2, 8, 9)


def _minutes_of_work() -> NDArray[np.float64]:
    """Cumulative probability of an event by minute of a local day: one peak before and one after lunch."""
    minute = np.arange(1440)
    humps = np.exp(-(((minute - 630) / 110) ** 2)) + 0.9 * np.exp(-(((minute - 900) / 120) ** 2)) + 0.01
    cumulated: NDArray[np.float64] = np.cumsum(humps / humps.sum())
    return cumulated


class Company:
    """`accounts` accounts over `days` whole UTC days, the last of which ends at or before `end_ms` (epoch ms).

    Iterating yields `Event`s in order of event time, with every account's profile before its other events; each
    iteration yields the same. Raises ValueError without an account or a day.
    """

    def __init__(self, accounts: int = 500, days: int = 120, seed: int = 7, *, end_ms: int) -> None:
        if accounts < 1 or days < 1:
            raise ValueError(f"a company needs at least one account and one day, not {accounts} and {days}")
        self.days = days
        self.end_ms = end_ms // DAY_MS * DAY_MS
        self.start_ms = self.end_ms - days * DAY_MS
        self._seed = seed
        # Different runs against one broker must not look like repeats of each other.
        self._id_head = f'{{"id":"{seed:x}-{self.end_ms // DAY_MS:x}-'.encode()
        random = Random(seed)
        names = company_names(random, accounts)
        self.accounts = [
            Account(
                index=index,
                account_id=account_id(name),
                name=name,
                owner=random.choice(OWNERS),
                scenario=scenario,
                traits=traits(scenario, days, random),
                utc_offset_h=random.choice(UTC_OFFSETS_H),
            )
            for index, (name, scenario) in enumerate(zip(names, shuffled_scenarios(random, accounts), strict=True))
        ]
        self._rare_events = self._sorted_rare_events(random)
        self._usage = _Usage(self.accounts, self.start_ms, days, Random(seed + 1))

    @property
    def expected_events(self) -> int:
        """Estimated number of events (within a few percent), for pacing and progress."""
        return len(self._rare_events) + self._usage.expected

    def scenario_of(self) -> dict[str, Scenario]:
        """Account id to its scenario."""
        return {account.account_id: account.scenario for account in self.accounts}

    def names(self) -> dict[str, str]:
        """Account id to its name."""
        return {account.account_id: account.name for account in self.accounts}

    def __iter__(self) -> Iterator[Event]:
        """See the class."""
        generator = np.random.default_rng(self._seed)
        ids = [account.account_id for account in self.accounts]
        head = self._id_head
        number = 0
        rare_events = iter(self._rare_events)
        rare = next(rare_events, None)
        for day in range(self.days):
            for time_ms, account, tail in self._usage.of_day(day, generator):
                while rare is not None and rare.time_ms <= time_ms:
                    yield rare.topic, ids[rare.account], rare.time_ms, b'%b%x"%b' % (head, number, rare.tail)
                    number += 1
                    rare = next(rare_events, None)
                yield USAGE, ids[account], time_ms, b'%b%x"%b' % (head, number, tail)
                number += 1
        while rare is not None:
            yield rare.topic, ids[rare.account], rare.time_ms, b'%b%x"%b' % (head, number, rare.tail)
            number += 1
            rare = next(rare_events, None)

    def _sorted_rare_events(self, random: Random) -> list[AccountEvent]:
        events = [
            event
            for account in self.accounts
            for event in AccountEvents(account, self.start_ms, self.days, random).events()
        ]
        events.sort(key=lambda event: event.time_ms)  # stable: a profile stays before events of the same millisecond
        return events


class _Usage:
    """Generates usage events day by day; a seat is one user of one account, added in order and removed in reverse."""

    def __init__(self, accounts: list[Account], start_ms: int, days: int, random: Random) -> None:
        self._start_ms = start_ms
        self._weekday = start_ms // DAY_MS + 3  # 1970-01-01 was a Thursday
        self._work = _minutes_of_work()
        users = np.array([account.traits.users for account in accounts]).round()
        born = np.array([account.traits.start_day for account in accounts])
        users[np.arange(days) < born[:, None]] = 0
        seats = users.max(axis=1).astype(int)
        self._account = np.repeat(np.arange(len(accounts)), seats)
        rank = np.concatenate([np.arange(count) for count in seats])
        self._present = rank[:, None] < users[self._account]
        self._first_day = self._present & (np.arange(days) == born[self._account][:, None])
        habit = np.array([random.lognormvariate(0, 0.4) for _ in rank])
        weekdays = np.array([WEEKDAYS[(self._weekday + day) % 7] for day in range(days)])
        self._rate = np.minimum(habit, 3.0)[:, None] * EVENTS_PER_USER_DAY * weekdays
        self._favourite = np.array([random.randrange(len(FEATURES)) for _ in rank])
        self._offset_ms = np.array([account.utc_offset_h for account in accounts])[self._account] * HOUR_MS
        self._born_ms = start_ms + born[self._account] * DAY_MS + self._account % 600 * 1000
        ids = [account.account_id for account in accounts]
        self._who = [
            b',"account_id":"%b","user_id":"%b-u%d"' % (ids[account].encode(), ids[account].encode(), seat)
            for account, seat in zip(self._account.tolist(), rank.tolist(), strict=True)
        ]
        self._what = [
            f',"feature":"{feature}","action":"{action}"'.encode() for feature in FEATURES for action in ACTIONS
        ]
        self.expected = int(self._rate[self._present].sum() + self._first_day.sum())

    def of_day(self, day: int, generator: np.random.Generator) -> Iterator[tuple[int, int, bytes]]:
        """(time in epoch ms, index of the account, JSON after the id) of that day's events, in order of time."""
        present = np.flatnonzero(self._present[:, day])
        seat = np.repeat(present, generator.poisson(self._rate[present, day]))
        minute = np.searchsorted(self._work, generator.random(len(seat)))
        local_ms = minute * 60_000 + generator.integers(0, 60_000, len(seat))
        midnight = self._start_ms + day * DAY_MS
        # A local working day may span two UTC days; the modulo keeps each day's events in its UTC day.
        time_ms = midnight + (local_ms - self._offset_ms[seat]) % DAY_MS
        time_ms = np.maximum(time_ms, self._born_ms[seat] + 60_000)
        # Each user of a new account appears within its first hour.
        newcomers = np.flatnonzero(self._first_day[:, day])
        seat = np.concatenate([newcomers, seat])
        arrival = self._born_ms[newcomers] + 60_000 + generator.integers(0, 40 * 60_000, len(newcomers))
        time_ms = np.concatenate([arrival, time_ms])
        order = np.argsort(time_ms, kind="stable")
        seat, time_ms = seat[order], time_ms[order]
        what = (self._favourite[seat] + generator.geometric(0.5, len(seat)) - 1) % len(FEATURES) * len(ACTIONS)
        what += generator.integers(0, len(ACTIONS), len(seat))
        count = generator.geometric(0.7, len(seat))
        duration = generator.exponential(180, len(seat)).astype(int)
        who, kinds = self._who, self._what
        columns = (column.tolist() for column in (seat, time_ms, self._account[seat], what, count, duration))
        for who_index, when, account, what_index, number, seconds in zip(*columns, strict=True):
            tail = b'%b,"time":%d%b,"count":%d,"duration_s":%d}' % (
                who[who_index], when, kinds[what_index], number, seconds,
            )  # fmt: skip
            yield when, account, tail
