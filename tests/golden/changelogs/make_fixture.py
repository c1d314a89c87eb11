"""How the changelog of version 0.1.0 was written, what it holds, and what 0.1.0 made of it.

`python -m tests.golden.changelogs.make_fixture` was run once, at commit cb49ad0 (the last one with the modules of
0.1.0), and wrote the five `.jsonl.gz` files beside it:

- `before.jsonl.gz`: the steps of 40 days that the writer took (see `partition.py`), with commits among them;
- `changelog.jsonl.gz`: every record that these commits wrote, in the order of the log, before compaction;
- `after.jsonl.gz`: the steps of five more days, taken after restoring;
- `expected.jsonl.gz`: what 0.1.0 said after restoring, in each of these steps, and at the end;
- `promoted.jsonl.gz`: what it said in the first of them when the candidate was promoted instead.

Do not run it again with later code: a fixture of later code proves nothing about changelogs of 0.1.0. For another
version copy the folder. The events come from a seeded generator; the tables of peers are made on the way from the
scores, as `vitals peers` makes them.
"""

from __future__ import annotations

import json
from itertools import count
from random import Random
from typing import Any

from schemas.codecs import encode
from schemas.peers import PeerScore
from schemas.records import read_message
from stream.consumers.peer_values import PeerValues
from tests.golden.changelogs.partition import (
    EXPECTED,
    PROMOTED,
    PROMOTED_STEPS,
    STEPS_AFTER,
    STEPS_BEFORE,
    Json,
    Partition,
    Records,
    fields_of,
    policy,
    write_changelog,
    write_lines,
)

HOUR = 3_600_000
DAY = 24 * HOUR
START = 20_458 * DAY
RESTORED = 40
"""The day at whose noon the writer stops."""
LAST = 45
NOW_MS = START + LAST * DAY
ACCOUNTS = [f"a{number:02}" for number in range(1, 15)]
FADING = ("a03", "a07", "a11")
"""Accounts that use the product less and less."""
KNOWN_RULES = ("low", "urgent", "drop", "quiet", "band:health:at-risk", "many-tickets")


class Events:
    """Records of all topics, each with the next offset of its topic."""

    def __init__(self) -> None:
        self.chance = Random(12)
        self._offsets: dict[str, count[int]] = {}
        self._ids = count()

    def record(self, topic: str, account: str, at_ms: int, **fields: Any) -> list[Any]:
        """An event, whose record is half a second later."""
        event = {"id": f"{topic[:2]}{next(self._ids)}", "account_id": account, "time": at_ms, **fields}
        return self.raw(topic, account, at_ms + 500, json.dumps(event))

    def raw(self, topic: str, account: str, stamp_ms: int, value: str | None, *headers: list[str]) -> list[Any]:
        """A record as it is on the broker."""
        offset = next(self._offsets.setdefault(topic, count()))
        return [topic, offset, stamp_ms, account, value, list(headers)]

    def profiles(self, at_ms: int) -> list[list[Any]]:
        """Profiles of most accounts; some are new customers, some are about to renew."""
        records = []
        for number, account in enumerate(ACCOUNTS):
            if account == "a14":
                continue
            fields: Json = {"name": f"Account {number}", "tier": ("enterprise", "smb", "strategic")[number % 3]}
            fields |= {"arr": 10_000.5 * (number + 1), "plan": "pro", "owner": f"csm{number % 2}"}
            fields["started_at"] = START - (0 if number % 4 == 0 else 300) * DAY
            if number % 3 == 1:
                fields |= {"renewal_at": START + (45 + number) * DAY, "parent_id": "holding"}
            records.append(self.record("accounts", account, at_ms, **fields))
        records.append(self.record("accounts", "only-a-profile", at_ms, tier="smb"))
        return records

    def usage(self, account: str, at_ms: int) -> list[Any]:
        """A use of the product."""
        pick = self.chance.choice
        fields: Json = {"user_id": f"{account}-u{self.chance.randrange(12)}", "feature": f"f{self.chance.randrange(6)}"}
        fields |= {"action": pick(("open", "edit", "export")), "duration_s": self.chance.randrange(0, 1200)}
        if self.chance.random() < 0.2:
            fields["count"] = pick((2, 3, 0.5, 2.25))
        return self.record("product-usage", account, at_ms, **fields)

    def ticket(self, account: str, at_ms: int, priority: str | None = None) -> list[Any]:
        """A ticket."""
        pick = self.chance.choice
        fields: Json = {"ticket_id": f"T{self.chance.randrange(99)}", "kind": "bug"}
        fields["status"] = "opened" if priority else pick(("opened", "updated", "solved", "reopened"))
        fields["priority"] = priority or pick(("low", "normal", "normal", "high", "urgent"))
        if self.chance.random() < 0.5:
            fields["first_response_s"] = self.chance.randrange(60, 9000) / 4
        return self.record("support-tickets", account, at_ms, **fields)

    def other(self, account: str, at_ms: int) -> list[Any]:
        """An event of any of the smaller sources except surveys."""
        pick = self.chance.choice
        kind = pick(("billing", "engagement", "engagement", "signals", "pulse"))
        if kind == "billing":
            fields: Json = {"kind": pick(("invoice_paid", "invoice_paid", "payment_failed", "upgraded"))}
            fields |= {"amount": self.chance.randrange(40_000) / 100, "currency": pick(("EUR", "EUR", "USD"))}
            return self.record("billing", account, at_ms, **fields, days_late=self.chance.randrange(20))
        if kind == "engagement":
            fields = {"kind": pick(("meeting", "webinar", "review", "referral")), "role": pick(("cto", "cfo", "user"))}
            return self.record("engagement", account, at_ms, **fields)
        if kind == "signals":
            return self.record("signals", account, at_ms, name=pick(("credit", "rank")), value=pick((2, 3.5, 4.125)))
        return self.record("controls", account, at_ms, kind="pulse", value=self.chance.randrange(0, 101), by="ann")

    def survey(self, account: str, at_ms: int) -> list[Any]:
        """An answer to a survey."""
        kind, most = self.chance.choice((("nps", 10), ("nps", 10), ("csat", 5)))
        return self.record("surveys", account, at_ms, kind=kind, score=self.chance.randrange(1, most + 1))

    def half_day(self, day: int, half: int, *, surveys: bool) -> list[list[Any]]:
        """What happens in the hours from 1 to 11, or from 13 to 23, of a day, in order of time; some of it is late."""
        chance = self.chance
        drawn = []
        begin = START + day * DAY + (1 + 12 * half) * HOUR
        for at_ms in sorted(begin + chance.randrange(10 * HOUR) for _ in range(chance.randrange(18, 30))):
            account = chance.choice(ACCOUNTS)
            late = chance.choice((2 * HOUR, 30 * HOUR, 6 * DAY, 100 * DAY)) if chance.random() < 0.05 else 0
            what = chance.random()
            if what < 0.55:
                if account not in FADING or chance.randrange(40) > day * 2:
                    drawn.append((at_ms, self.usage, account, late))
            elif what < 0.68:
                drawn.append((at_ms, self.ticket, account, late))
            elif what < 0.8 and surveys:
                drawn.append((at_ms, self.survey, account, late))
            else:
                drawn.append((at_ms, self.other, account, late))
        records = []
        for at_ms, make, account, late in drawn:
            record = make(account, at_ms - late)
            record[2] = at_ms + 500
            records.append(record)
        return records


def answers(events: Events, at_ms: int, until_ms: int) -> list[list[Any]]:
    """People's words: overrides that end soon, late, or were cleared; acknowledgements and snoozes of open alerts."""
    add = events.record
    records = [
        add("controls", "a01", at_ms, kind="override", score=20, reason="sponsor left", expires_at=until_ms, by="ann"),
        add("controls", "a02", at_ms, kind="override", band="healthy", reason="é", expires_at=until_ms + 90 * DAY),
        add("controls", "a04", at_ms, kind="override", score=1, reason="wrong", expires_at=until_ms, by="bob"),
        add("controls", "a04", at_ms + 1, kind="clear_override", by="bob"),
    ]
    for account in ("a03", "a05", "a07", "a08"):
        records += [
            add("controls", account, at_ms + 2, kind="acknowledge", rule=rule, by="ann") for rule in KNOWN_RULES
        ]
    for account in ("a07", "a09", "a11"):
        fields: Json = {"kind": "snooze", "until": until_ms, "by": "bob"}
        records += [add("controls", account, at_ms + 3, **fields, rule=rule) for rule in KNOWN_RULES]
    return records


class Run:
    """A partition that takes steps, the tables of peers that follow from its scores, and the steps that were taken."""

    def __init__(self, partition: Partition, events: Events, namespace: PeerValues) -> None:
        self.partition, self.events, self.namespace = partition, events, namespace
        self.steps: list[Json] = []
        self.published: list[Json] = []

    def step(self, **step: Any) -> None:
        """Take a step, then the table of peers that its scores complete."""
        self.steps.append(step)
        self.published.append(self.partition.step(step))
        for account, score in self.published[-1].get("scores", ()):
            self.namespace.apply(0, account, read_message(PeerScore, json.dumps(score).encode()))
        if message := self.namespace.due():
            stamp = message.as_of + DAY
            self.step(take=[self.events.raw("vitals-peers", "", stamp, encode(message).decode())])

    def day(self, day: int, *, surveys: bool, halves: tuple[int, ...] = (0, 1)) -> None:
        """A day of events; every fourth one is caught up with."""
        mode = {1: "exact", 3: "conflated"}.get(day % 4, "head") if day % 2 and day < RESTORED - 2 else "head"
        for half in halves:
            records = self.events.half_day(day, half, surveys=surveys)
            self.step(mode=mode)
            self.step(take=records[: len(records) // 2])
            self.step(take=records[len(records) // 2 :])
        self.step(mode="head")


def write_before(run: Run) -> None:
    """The writer's 40 days: it ends in a storm, with surveys that have stalled, at noon."""
    events = run.events
    run.partition.row_schemas()
    run.step(take=events.profiles(START))
    run.step(take=[events.record("accounts", "a13", START + HOUR, tier="strategic", arr=90_000)])
    for day in range(RESTORED):
        run.day(day, surveys=day < RESTORED - 6)
        at_ms = START + day * DAY + 23 * HOUR
        if day == 20:
            fields: Json = {"action": "open", "feature": "f9"}
            many = [events.record("product-usage", "big", at_ms, **fields, user_id=f"user{n}") for n in range(700)]
            run.step(take=many)
            run.step(take=[events.record("accounts", "big", at_ms, tier="enterprise", arr=1e6, name='Bíg "one"')])
        if day in (20, 33, 37):
            run.step(take=answers(events, at_ms, START + (RESTORED + 2) * DAY + 5 * HOUR))
        if day in (1, 12, 22, 30, 38):
            run.step(commit=True)
        if day % 3 == 0:
            run.step(tick=START + (day + 1) * DAY)
    run.day(RESTORED, surveys=False, halves=(0,))
    noon = START + RESTORED * DAY + 12 * HOUR
    bad = [
        events.raw("billing", "a01", noon, '{"id": "x"}'),
        events.raw("surveys", "a01", noon, "no JSON"),
        events.record("signals", "elsewhere-1", noon, name="credit", value=1),
        events.record("signals", "a01", NOW_MS + DAY, name="credit", value=1),
        events.raw("accounts", "a12", noon, None),
    ]
    moved = {"id": "moved1", "account_id": "a06", "time": noon, "kind": "meeting", "role": "ceo"}
    origin = ["vitals.origin", "engagement"]
    bad.append(events.raw("vitals-inbox", "a06", noon, json.dumps(moved), origin))
    run.step(take=bad)
    run.step(take=[events.ticket(account, noon + 60_000, "urgent") for account in ACCOUNTS[:9] for _ in range(2)])
    run.step(tick=noon + HOUR)
    run.step(commit=True)


def write_after(run: Run, known: list[list[Any]]) -> None:
    """Five days more: a replay of what is known, repeated ids, the storm's end, surveys again, then silence."""
    events = run.events
    noon = START + RESTORED * DAY + 12 * HOUR
    # Ids that a replay would teach again are not repeated: only the changelog knows those that are.
    run.step(take=known[-150:])
    run.step(take=[events.raw(record[0], record[3], noon + 90_000, record[4]) for record in known[-400:-150]])
    more = [events.ticket(account, noon + 120_000, "urgent") for account in ACCOUNTS[9:12]]
    run.step(take=more)
    run.step(tick=noon + 2 * HOUR)
    run.day(RESTORED, surveys=True, halves=(1,))
    run.step(take=answers(events, START + RESTORED * DAY + 23 * HOUR + 30 * 60_000, START + LAST * DAY))
    run.step(take=[events.record("product-usage", "big", START + (RESTORED + 1) * DAY, user_id="user3", action="edit")])
    run.step(commit=True)
    run.step(mode="exact")
    run.step(take=events.half_day(RESTORED + 1, 0, surveys=True))
    run.step(mode="head")
    run.step(mode="conflated")
    run.step(take=events.half_day(RESTORED + 1, 1, surveys=True) + events.half_day(RESTORED + 2, 0, surveys=True))
    run.step(mode="head")
    run.step(take=[events.record("accounts", "a04", START + (RESTORED + 2) * DAY, tier="strategic", arr=60_000)])
    run.day(RESTORED + 2, surveys=True, halves=(1,))
    for hours in (25, 26, 30, 48):
        run.step(tick=START + (RESTORED + 2) * DAY + hours * HOUR)
    run.step(commit=True)


def after_promotion(log: Records, steps: list[Json]) -> list[Any]:
    """What is published when the candidate becomes the live policy, and the state that is saved then."""
    partition = Partition(log, NOW_MS, promoted=True)
    published = [partition.standing(), partition.commit(), *map(partition.step, steps[:PROMOTED_STEPS])]
    partition.commit()
    return [*published, fields_of(partition.log)]


def main() -> None:
    """Write the five files."""
    events, namespace = Events(), PeerValues(policy("live"), None)
    first = Run(Partition([], NOW_MS), events, namespace)
    write_before(first)
    log = first.partition.log
    known = [record for step in first.steps for record in step.get("take", ()) if record[0] != "vitals-peers"]
    forecast_day = Partition(log, NOW_MS)
    expected: list[Any] = [{"restored": forecast_day.standing(), "current": forecast_day.current()}]
    second = Run(Partition(log, NOW_MS), events, namespace)
    write_after(second, [record for record in known if record[0] != "vitals-inbox"])
    expected += second.published
    expected.append({"saved": fields_of(second.partition.log), "current": second.partition.current()})
    write_lines(PROMOTED, after_promotion(log, second.steps))
    write_lines(STEPS_BEFORE, first.steps)
    write_changelog(log)
    write_lines(STEPS_AFTER, second.steps)
    write_lines(EXPECTED, expected)


if __name__ == "__main__":
    main()
