"""Catching up: which accounts a commit publishes, and that all are right when the head is reached."""

from __future__ import annotations

import json

import msgspec

from schemas.outputs import ScoreMessage
from stream.engine.engine import Engine, Mode
from tests.driving.engine import fetch_of, plan_of
from tests.oracle.events import Record

DAY_MS = 86_400_000
FIRST_MS = 20_000 * DAY_MS
ACCOUNTS = ("acme", "birch", "cedar", "dune")
POLICY = """
name = "two-days"

[measures.events]
source = "product-usage"
stat = "count"
window = "2d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 4 }
weight = 1

[scores.health]
min_change = 1
bands = [{ name = "any", from = 0 }]
"""


class CatchingUp:
    """An engine that gets one event an account, and what it publishes."""

    def __init__(self) -> None:
        self.engine, self.count = Engine(plan_of(POLICY)), 0

    def take(self, day: int, *accounts: str) -> None:
        records = []
        for account in accounts:
            time_ms = FIRST_MS + day * DAY_MS + self.count
            value = json.dumps({"id": f"e-{self.count}", "account_id": account, "time": time_ms}).encode()
            records.append(Record("product-usage", 0, self.count, time_ms, account.encode(), value))
            self.count += 1
        self.engine.step(fetch_of(records).batches, Mode.CONFLATED, None)

    def commit(self) -> dict[str, float | None]:
        return values(self.engine.flush(Mode.CONFLATED).scores)


def values(messages: list) -> dict[str, float | None]:
    decoded = [msgspec.json.decode(message.value, type=ScoreMessage) for message in messages]
    return {score.account_id: score.scores["health"].value for score in decoded}


def test_a_commit_publishes_the_accounts_of_its_events() -> None:
    catching_up = CatchingUp()
    catching_up.take(0, *ACCOUNTS)
    assert catching_up.commit() == dict.fromkeys(ACCOUNTS, 25.0)
    catching_up.take(1, "acme")
    assert catching_up.commit() == {"acme": 50.0}


def test_accounts_that_time_has_moved_wait_for_as_many_events_as_there_are_accounts() -> None:
    catching_up = CatchingUp()
    catching_up.take(0, *ACCOUNTS)
    catching_up.commit()
    catching_up.take(2, "acme", "acme")  # the first day has left the windows of all: three have no data
    assert catching_up.commit() == {"acme": 50.0}
    catching_up.take(2, "acme")
    assert catching_up.commit() == {"acme": 75.0}
    catching_up.take(2, "acme")
    assert catching_up.commit() == {"acme": 100.0, "birch": None, "cedar": None, "dune": None}


def test_all_accounts_are_right_when_the_head_is_reached() -> None:
    catching_up = CatchingUp()
    catching_up.take(0, *ACCOUNTS)
    catching_up.commit()
    catching_up.take(2, "acme")
    catching_up.commit()
    assert values(catching_up.engine.caught_up().scores) == {"birch": None, "cedar": None, "dune": None}
