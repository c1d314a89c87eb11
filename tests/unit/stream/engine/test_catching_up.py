"""Catching up: which accounts a commit publishes, and that all are right when the head is reached."""

from __future__ import annotations

import json

import msgspec

from schemas.outputs import ScoreMessage
from stream.engine.engine import Engine, Mode
from stream.engine.rescoring import OFTEN
from stream.recovery import changelog
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
        self.step: dict[str, float | None] = {}
        """What the last step has published."""

    def take(self, day: int, *accounts: str, mode: Mode = Mode.CONFLATED) -> None:
        records = []
        for account in accounts:
            time_ms = FIRST_MS + day * DAY_MS + self.count
            value = json.dumps({"id": f"e-{self.count}", "account_id": account, "time": time_ms}).encode()
            records.append(Record("product-usage", 0, self.count, time_ms, account.encode(), value))
            self.count += 1
        self.step = values(self.engine.step(fetch_of(records).batches, mode, None).scores)

    def erase(self, account: str) -> None:
        value = json.dumps({"id": "x", "account_id": account, "time": FIRST_MS, "kind": "erase", "by": "ada"}).encode()
        record = Record("controls", 0, 0, FIRST_MS + self.count, account.encode(), value)
        self.engine.step(fetch_of([record]).batches, Mode.HEAD, None)

    def rescore(self) -> dict[str, float | None]:
        return values(self.engine.rescore_next().scores)

    def commit(self) -> dict[str, float | None]:
        return values(self.engine.flush(Mode.CONFLATED).scores)


def values(messages: list) -> dict[str, float | None]:
    decoded = [msgspec.json.decode(message.value, type=ScoreMessage) for message in messages]
    return {score.account_id: score.scores["health"].value for score in decoded}


def test_a_commit_publishes_the_accounts_that_changed_often() -> None:
    catching_up = CatchingUp()
    for _ in range(OFTEN - 1):
        catching_up.take(0, "acme")
    catching_up.take(0, "birch")
    assert catching_up.commit() == {}
    catching_up.take(0, "acme")
    assert catching_up.commit() == {"acme": 100.0}
    assert catching_up.commit() == {}, "it has not changed since"


def test_a_rescoring_publishes_the_others_after_as_many_changes_as_if_all_changed_often() -> None:
    catching_up = CatchingUp()
    catching_up.take(0, *ACCOUNTS)
    for _ in range(OFTEN * len(ACCOUNTS) - len(ACCOUNTS) - 1):
        catching_up.take(0, "acme")
    catching_up.commit()
    assert not catching_up.engine.is_rescoring
    catching_up.take(0, "acme")
    catching_up.commit()
    assert catching_up.rescore() == {"acme": 100.0, "birch": 25.0, "cedar": 25.0, "dune": 25.0}


def test_a_rescoring_publishes_what_time_has_moved() -> None:
    catching_up = CatchingUp()
    catching_up.take(0, *ACCOUNTS)
    assert values(catching_up.engine.caught_up().scores) == dict.fromkeys(ACCOUNTS, 25.0)
    for _ in range(OFTEN * len(ACCOUNTS)):
        catching_up.take(2, "acme")  # the first day has left the windows of all: three have no data
    assert catching_up.commit() == {"acme": 100.0}
    assert catching_up.rescore() == {"birch": None, "cedar": None, "dune": None}


def test_all_accounts_are_right_when_the_head_is_reached() -> None:
    catching_up = CatchingUp()
    catching_up.take(0, *ACCOUNTS)
    catching_up.engine.caught_up()
    catching_up.take(2, "acme", "acme")
    assert catching_up.commit() == {}
    assert values(catching_up.engine.caught_up().scores) == {"acme": 50.0, "birch": None, "cedar": None, "dune": None}
    assert not catching_up.engine.catching_up


def test_accounts_are_rescored_some_at_a_time_with_steps_between() -> None:
    catching_up = CatchingUp()
    catching_up.take(0, *ACCOUNTS)
    engine = catching_up.engine
    assert values(engine.caught_up(most=2).scores) == {"acme": 25.0, "birch": 25.0}
    assert engine.is_rescoring
    assert engine.catching_up, "a worker that crashes now has accounts left"
    catching_up.take(0, "acme", "dune", mode=Mode.HEAD)
    assert catching_up.step == {"acme": 50.0, "dune": 50.0}
    assert not engine.flush(Mode.HEAD).scores, "they are left to the rescoring"
    assert values(engine.rescore_next(most=2).scores) == {"cedar": 25.0}
    assert not engine.is_rescoring
    assert not engine.catching_up


def test_a_rescoring_at_the_head_ends_when_the_head_is_left() -> None:
    catching_up = CatchingUp()
    catching_up.take(0, *ACCOUNTS)
    catching_up.engine.caught_up(most=1)
    catching_up.take(0, "acme")
    assert not catching_up.engine.is_rescoring
    assert catching_up.engine.catching_up
    published = values(catching_up.engine.caught_up().scores)
    assert published == {"acme": 50.0, "birch": 25.0, "cedar": 25.0, "dune": 25.0}


def test_nothing_is_rescored_where_no_rescoring_is_under_way() -> None:
    catching_up = CatchingUp()
    catching_up.take(0, *ACCOUNTS)
    catching_up.engine.caught_up()
    catching_up.take(0, "acme")
    assert catching_up.rescore() == {}
    assert catching_up.engine.catching_up, "the change of acme is not published"


def test_an_account_that_is_erased_during_a_rescoring_is_left_out() -> None:
    catching_up = CatchingUp()
    catching_up.take(0, *ACCOUNTS)
    catching_up.engine.caught_up(most=1)
    catching_up.erase("birch")
    assert values(catching_up.engine.rescore_next().scores) == {"cedar": 25.0, "dune": 25.0}


def test_a_state_says_that_accounts_were_left() -> None:
    catching_up = CatchingUp()
    catching_up.take(0, *ACCOUNTS)
    catching_up.commit()
    restored = Engine(catching_up.engine.plan)
    saved = {key: value for key, value in changelog.snapshot(catching_up.engine) if value is not None}
    changelog.restore(restored, saved)
    assert restored.catching_up
    assert values(restored.caught_up().scores) == dict.fromkeys(ACCOUNTS, 25.0)
    assert not restored.catching_up
