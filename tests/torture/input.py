"""Events of a round, with the mistakes that users make: some before the workers start, the others while they run.

Owns which records a seed gives, and in which order. Must not know faults, nor what becomes of a record: the oracle
decides that. Pure: the same random numbers give the same records. Called by `tests.torture.plan`.

What the oracle makes of the records may not depend on when a worker reads them. So nothing is later than a quarter of
the longest window, the records that are sent while workers run span another quarter, and records in the wrong
partition, which arrive when a worker has forwarded them, are of the last half.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from tests.faults.events import DAY_MS, END_MS, HOUR_MS, misplaced
from tests.faults.topic_log import PARTITIONS, Message

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Mistake = Literal[
    "late",
    "duplicate",
    "wrong partition",
    "no key",
    "not JSON",
    "cut off",
    "framed",
    "wrong type",
    "missing field",
    "in the future",
    "seconds",
    "null value",
    "reused id",
]
MISTAKES: tuple[Mistake, ...] = get_args(Mistake)
FUTURE_MS = 4_102_444_800_000
"""2100-01-01: later than any machine that runs this."""
_MISTAKEN = 0.3
_NOT_JSON = (
    b"",
    b" ",
    b"\xff\xfe\x00",
    b"{'id': 1}",
    b"[]",
    b"null",
    b"3",
    b'"text"',
    b"{",
    b"[" * 10_000 + b"]" * 10_000,
)
_WRONG: tuple[object, ...] = (1, True, [], {}, 0.5)
_NAMES = ("acct-{}", "tenant-a/{}", "tenant-b/{}", "dörfler {}", "東京-{}")
_USERS = tuple(f"user-{number}" for number in range(9))
_WORDS = ("one", "two", None)

ACCOUNTS = "accounts"
_Fields = dict[str, Any]


def _usage(chance: random.Random) -> _Fields:
    fields: _Fields = {"user_id": chance.choice(_USERS), "feature": chance.choice(("search", "export", "login"))}
    return fields | ({"count": chance.randint(0, 9)} if chance.random() < 0.5 else {})


def _ticket(chance: random.Random) -> _Fields:
    status = chance.choice(("opened", "updated", "solved", "reopened"))
    priority = chance.choice(("low", "normal", "high", "urgent", None))
    return {"ticket_id": f"t-{chance.randint(1, 99)}", "status": status, "priority": priority}


def _survey(chance: random.Random) -> _Fields:
    kind, most = chance.choice((("nps", 10), ("nps", 10), ("csat", 5), ("ces", 7)))
    return {"kind": kind, "score": chance.randint(1, most)}


def _bill(chance: random.Random) -> _Fields:
    kind = chance.choice(("invoice_paid", "invoice_overdue", "payment_failed", "renewed"))
    return {"kind": kind, "amount": chance.randint(-100, 30_000) / 100, "days_late": chance.randint(0, 40)}


def _engagement(chance: random.Random) -> _Fields:
    return {"kind": chance.choice(("webinar", "meeting", "reference"))}


def _signal(chance: random.Random) -> _Fields:
    return {"name": chance.choice(("seats", "credit")), "value": chance.randint(-10, 50)}


def _pulse(chance: random.Random) -> _Fields:
    return {"kind": "pulse", "value": chance.randint(0, 100), "by": chance.choice(_USERS)}


def _profile(chance: random.Random) -> _Fields:
    """Return what a profile has: any of its fields, some null."""
    names = chance.sample(("name", "tier", "plan", "segment", "owner"), chance.randint(0, 4))
    return {name: chance.choice(_WORDS) for name in names} | ({"arr": 900.5} if chance.random() < 0.3 else {})


_SOURCES: dict[str, tuple[int, Callable[[random.Random], _Fields]]] = {
    "product-usage": (50, _usage),
    "support-tickets": (12, _ticket),
    "surveys": (12, _survey),
    "billing": (10, _bill),
    "engagement": (5, _engagement),
    "signals": (4, _signal),
    "controls": (2, _pulse),
    ACCOUNTS: (5, _profile),
}


@dataclass(frozen=True)
class Input:
    """Records that are there before a worker starts, and those that are sent while workers run, some at a time."""

    history: tuple[Message, ...]
    live: tuple[tuple[Message, ...], ...]
    mistakes: tuple[tuple[str, int], ...]

    @property
    def records(self) -> list[Message]:
        """All records in the order in which they are sent."""
        return [*self.history, *(message for messages in self.live for message in messages)]


class _Drawing:
    """Draws records one by one."""

    def __init__(self, chance: random.Random, longest_ms: int) -> None:
        """Nothing is drawn yet."""
        self.mistakes = Counter[str]()
        self._chance = chance
        self._longest_ms = longest_ms
        self._accounts = [_NAMES[number % len(_NAMES)].format(number) for number in range(chance.randint(8, 40))]
        self._ids: dict[str, list[str]] = {}

    def records(self, number: int, time_ms: int) -> list[Message]:
        """Return one event, perhaps with a mistake, and perhaps its repetition; `time_ms` is when it is sent."""
        chance = self._chance
        topic = chance.choices([*_SOURCES], [share for share, _ in _SOURCES.values()])[0]
        account = self._accounts[int(len(self._accounts) * chance.random() ** 2)]
        event = {"id": f"e-{number}", "account_id": account, "time": time_ms, **_SOURCES[topic][1](chance)}
        mistake = chance.choice(MISTAKES) if chance.random() < _MISTAKEN else None
        if mistake == "reused id" and (topic == ACCOUNTS or topic not in self._ids):
            mistake = None
        if mistake is None and topic != ACCOUNTS:
            self._ids.setdefault(topic, []).append(event["id"])
        if mistake is not None:
            self.mistakes[mistake] += 1
        return self._sent(topic, event, time_ms, mistake)

    def _sent(self, topic: str, event: _Fields, time_ms: int, mistake: Mistake | None) -> list[Message]:
        chance = self._chance
        if mistake == "late":
            event["time"] -= chance.randint(0, self._longest_ms // 4)
        elif mistake == "reused id":
            event["id"] = chance.choice(self._ids[topic])
        may_move = time_ms > END_MS - self._longest_ms // 2
        key = event["account_id"].encode()
        message = Message(topic, key, self._value(event, mistake), time_ms)
        if type(event.get("account_id")) is int and not may_move:  # counts as an id, of another partition than the key
            return [message._replace(key=str(event["account_id"]).encode())]
        if mistake == "duplicate":
            return [message, message._replace(timestamp_ms=time_ms + chance.randint(0, self._longest_ms // 8))]
        if mistake in {"wrong partition", "no key"} and may_move:
            if mistake == "wrong partition" or topic == ACCOUNTS:  # a compacted topic takes no record without a key
                return [misplaced(message)]
            return [message._replace(key=None, partition=chance.randrange(PARTITIONS))]
        return [message]

    def _value(self, event: _Fields, mistake: Mistake | None) -> bytes | None:
        """Return the value of a record; a profile without one is a tombstone."""
        chance = self._chance
        if mistake == "null value":
            return None
        if mistake == "not JSON":
            return chance.choice(_NOT_JSON)
        if mistake == "wrong type":
            event[chance.choice(("id", "account_id"))] = chance.choice(_WRONG)
        if mistake == "missing field":
            del event[chance.choice(("id", "account_id", "time"))]
        if mistake == "in the future":
            event["time"] = FUTURE_MS + chance.randrange(DAY_MS)
        if mistake == "seconds":
            event["time"] //= 1000
        value = json.dumps(event, ensure_ascii=chance.random() < 0.5).encode()
        if mistake == "cut off":
            return value[: chance.randrange(1, len(value))]
        return b"\x00\x00\x00\x00\x07" + value if mistake == "framed" else value


def draw_input(chance: random.Random, longest_ms: int, count: int, pieces: int) -> Input:
    """Draw `count` events, half of them before the workers start; the others in `pieces` of about the same length."""
    drawing = _Drawing(chance, longest_ms)
    live_ms = longest_ms // 4
    began_ms = END_MS - live_ms - max(longest_ms, 48 * HOUR_MS)
    half = count // 2
    times = sorted(chance.randrange(began_ms, END_MS - live_ms) for _ in range(half))
    times += sorted(chance.randrange(END_MS - live_ms, END_MS) for _ in range(count - half))
    messages = [message for number, time_ms in enumerate(times) for message in drawing.records(number, time_ms)]
    messages.sort(key=lambda message: message.timestamp_ms)
    history = [message for message in messages if message.timestamp_ms < END_MS - live_ms]
    live = messages[len(history) :]
    size = -(-len(live) // pieces)
    cut = tuple(tuple(live[first : first + size]) for first in range(0, len(live), size))
    return Input(tuple(history), cut, tuple(sorted(drawing.mistakes.items())))
