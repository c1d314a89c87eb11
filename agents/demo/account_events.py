"""Generate the less frequent events of an account: profile, tickets, surveys, invoices, meetings.

Turns the curves of a scenario into these events as JSON. `agents.demo.company` generates usage. Pure: all randomness
comes from the generator that is passed in.

Each account that exists at the start begins with its current state: profile, last invoice, a survey, recent meetings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple

import orjson

from agents.demo.scenarios import Curve, Scenario, Traits

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
INVOICE_EVERY_DAYS = 30
SURVEY_EVERY_DAYS = 40
INITIAL_MEETINGS_DAYS = 60
"""An account that exists at the start has the meetings of this many days."""

PLANS = (
    ("starter", "bronze", "small", 6_000),
    ("team", "silver", "mid-market", 24_000),
    ("business", "gold", "large", 90_000),
)
MEETINGS = ("webinar", "community", "meeting", "review", "training", "email_reply", "reference", "referral")
TICKET_KINDS = ("question", "bug", "billing", "access", "performance")
PRIORITIES = ("low", "normal", "high", "urgent")
ROLES = ("champion", "admin", "user", "buyer")


@dataclass(slots=True, frozen=True)
class Account:
    """One synthetic account."""

    index: int
    account_id: str
    name: str
    owner: str
    scenario: Scenario
    traits: Traits
    utc_offset_h: int


class AccountEvent(NamedTuple):
    """An event without its id, which is set on sending: `tail` is its JSON after the id."""

    time_ms: int
    topic: str
    account: int
    tail: bytes


class AccountEvents:
    """Generates one account's less frequent events for `days` days from `start_ms` (a UTC midnight)."""

    def __init__(self, account: Account, start_ms: int, days: int, random: Random) -> None:
        self._account = account
        self._traits = account.traits
        self._start_ms = start_ms
        self._end_ms = start_ms + days * DAY_MS
        self._days = days
        self._random = random
        self._born_ms = start_ms + self._traits.start_day * DAY_MS + account.index % 600 * 1000
        self._tickets = 0

    def events(self) -> Iterator[AccountEvent]:
        """All events, in no particular order; none before the account's profile or after the last day."""
        for event in (*self._profile(), *self._support(), *self._billing(), *self._surveys(), *self._meetings()):
            if event.time_ms < self._end_ms:
                yield event

    def _event(self, topic: str, time_ms: float, **fields: Any) -> AccountEvent:
        when = max(int(time_ms), self._born_ms)
        body = orjson.dumps({"account_id": self._account.account_id, "time": when, **fields})
        return AccountEvent(when, topic, self._account.index, b"," + body[1:])

    def _at(self, day: int) -> float:
        """A time of that day in the account's business hours; on a weekend, of the next Monday."""
        weekday = (self._start_ms // DAY_MS + day + 3) % 7
        monday = day + (7 - weekday if weekday > 4 else 0)  # noqa: PLR2004  Monday is 0, as in datetime
        hour = self._random.triangular(8, 18.5, 11) - self._account.utc_offset_h
        return self._start_ms + monday * DAY_MS + hour * HOUR_MS

    def _occurrences(self, rate: Curve) -> Iterator[int]:
        """Days on which something with that daily rate happens, once for each occurrence."""
        for day in range(self._traits.start_day, self._days):
            expected = float(rate[day])
            while expected > 0 and self._random.random() < expected:
                yield day
                expected -= 1

    def _person(self) -> str:
        return f"{self._account.account_id}-u{self._random.randrange(6)}"

    def _profile(self) -> Iterator[AccountEvent]:
        growing = self._account.scenario is Scenario.GROWING
        plan = self._random.choice(PLANS[:2] if growing else PLANS)
        renewal_day = self._random.randrange(20, 380)
        new = self._traits.start_day > 0
        started_ms = self._born_ms - (0 if new else self._random.randrange(60, 1200) * DAY_MS)
        fields = {
            "name": self._account.name,
            "started_at": _rfc3339(started_ms),
            "renewal_at": _rfc3339(self._start_ms + renewal_day * DAY_MS),
            "persona": self._random.choice(("operations", "marketing", "finance", "product")),
            "owner": self._account.owner,
        }
        yield self._event("accounts", self._born_ms, **fields, **_plan_fields(plan))
        if not new and self._account.scenario not in (Scenario.FADING, Scenario.SILENT):
            yield self._event("billing", self._at(renewal_day), kind="renewed", amount=plan[3], currency="EUR")
        if growing:
            plan = PLANS[PLANS.index(plan) + 1]
            upgraded_ms = self._at(int(self._days * 0.7))
            yield self._event("billing", upgraded_ms, kind="upgraded", amount=plan[3], currency="EUR")
            yield self._event("accounts", upgraded_ms + 60_000, **fields, **_plan_fields(plan))

    def _support(self) -> Iterator[AccountEvent]:
        open_already = int(self._traits.tickets[0] * 20) if self._traits.start_day == 0 else 0
        for _ in range(open_already):
            yield from self._ticket(self._born_ms + self._random.uniform(1, 40) * 60_000, 0)
        for day in self._occurrences(self._traits.tickets):
            yield from self._ticket(self._at(day), day)

    def _ticket(self, opened_ms: float, day: int) -> Iterator[AccountEvent]:
        severity = float(self._traits.severity[day])
        level = min(3, max(0, round(self._random.gauss(0.4 + severity * 2.4, 0.6))))
        self._tickets += 1
        fields = {
            "ticket_id": f"{self._account.account_id}-t{self._tickets}",
            "priority": PRIORITIES[level],
            "kind": self._random.choice(TICKET_KINDS),
        }
        answer_s = int(self._random.lognormvariate(8.5 - level * 0.7, 0.6))
        solution_s = answer_s + int(self._random.lognormvariate(11, 0.8))
        yield self._event("support-tickets", opened_ms, **fields, status="opened")
        answered = opened_ms + answer_s * 1000
        yield self._event("support-tickets", answered, **fields, status="updated", first_response_s=answer_s)
        solved = opened_ms + solution_s * 1000
        yield self._event("support-tickets", solved, **fields, status="solved", resolution_s=solution_s)
        if self._random.random() < 0.05:  # noqa: PLR2004  one in twenty is reopened
            yield self._event("support-tickets", solved + DAY_MS, **fields, status="reopened")
            yield self._event("support-tickets", solved + 2 * DAY_MS, **fields, status="solved")
        if self._random.random() < 0.3:  # noqa: PLR2004  nearly a third answer
            happy = round(self._random.gauss(4.4 - severity * 2, 0.7))
            yield self._event(
                "surveys", solved + HOUR_MS, kind="csat", score=min(5, max(1, happy)), user_id=self._person()
            )

    def _billing(self) -> Iterator[AccountEvent]:
        amount = self._random.choice((250, 500, 1_000, 2_500, 7_500))
        if self._traits.start_day == 0:
            late = self._late(0)
            yield self._event("billing", self._born_ms + 20_000, kind="invoice_paid", amount=amount, days_late=late)
        first = self._traits.start_day + self._random.randrange(1, INVOICE_EVERY_DAYS)
        for due in range(first, self._days, INVOICE_EVERY_DAYS):
            late = self._late(due)
            money = {"amount": amount, "currency": "EUR"}
            for reminder in (10, 20, 30):
                if late > reminder:
                    kind = "payment_failed" if reminder == 10 else "invoice_overdue"  # noqa: PLR2004  the first try
                    yield self._event("billing", self._at(due + reminder), **money, kind=kind, days_late=reminder)
            yield self._event("billing", self._at(due + late), **money, kind="invoice_paid", days_late=late)

    def _late(self, day: int) -> int:
        usual = float(self._traits.days_late[day])
        return max(0, round(self._random.gauss(usual, usual * 0.15)))

    def _surveys(self) -> Iterator[AccountEvent]:
        if self._traits.start_day == 0:
            yield self._nps(self._born_ms + 30_000, 0)
        first = self._traits.start_day + self._random.randrange(10, SURVEY_EVERY_DAYS)
        regular = [day for day in range(first, self._days, SURVEY_EVERY_DAYS) if self._traits.users[day] >= 1]
        for day in (*regular, *(day for day in self._traits.survey_days for _ in range(3))):
            yield self._nps(self._at(day), day)

    def _nps(self, when_ms: float, day: int) -> AccountEvent:
        score = min(10, max(0, round(self._random.gauss(float(self._traits.mood[day]), 0.8))))
        return self._event("surveys", when_ms, kind="nps", score=score, user_id=self._person())

    def _meetings(self) -> Iterator[AccountEvent]:
        if self._traits.start_day == 0:
            for number in range(round(float(self._traits.engagement[0]) * INITIAL_MEETINGS_DAYS)):
                yield self._meeting(self._born_ms + (40 + number) * 1000)
        for day in self._occurrences(self._traits.engagement):
            yield self._meeting(self._at(day))

    def _meeting(self, when_ms: float) -> AccountEvent:
        kind, role = self._random.choice(MEETINGS), self._random.choice(ROLES)
        return self._event("engagement", when_ms, kind=kind, role=role, user_id=self._person())


def _plan_fields(plan: tuple[str, str, str, int]) -> dict[str, Any]:
    return {"plan": plan[0], "tier": plan[1], "segment": plan[2], "arr": plan[3]}


def _rfc3339(time_ms: float) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
