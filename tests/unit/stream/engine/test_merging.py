"""What a control that merges accounts does, one thing a test; the oracle judges whole logs in tests/property."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.topics import MERGED_HEADER, ORIGIN_HEADER, REPARTITION
from stream.recovery import handed_over
from tests.driving.engine import plan_of
from tests.driving.merging import Cluster, Worker
from tests.driving.scores import messages_of

NOW = 20_000 * 86_400_000
POLICY = """
name = "p"
[measures.events]
source = "product-usage"
stat = "count"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[measures.users]
source = "product-usage"
stat = "distinct_users"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 0
[scores.health]
min_change = 1
bands = [{ name = "good", from = 50 }, { name = "poor", from = 0, alert = "critical" }]
"""
A, B, C = "acme", "birch", "elm"


class World(Cluster):
    """Workers of three partitions, and what is sent to them."""

    sent = 0

    def send(self, topic: str, account: str, **fields: Any) -> bytes:
        self.sent += 1
        event = {"id": f"e-{self.sent}", "account_id": account, "time": NOW, **fields}
        value = json.dumps(event).encode()
        self.append(topic, account.encode(), value, time_ms=self.sent)
        return value

    def use(self, account: str, user: str = "ann") -> bytes:
        return self.send("product-usage", account, user_id=user)

    def merge(self, account: str, into: str) -> bytes:
        return self.send("controls", account, kind="merge", into=into)

    def home(self, account: str) -> Worker:
        return next(worker for worker in self.workers if worker.engine.accounts.index.owns(account))

    def all(self) -> dict[str, dict[str, Any]]:
        self.finish(NOW)
        return {account: each for engine in self.engines() for account, each in messages_of(engine).items()}

    def counts(self) -> dict[str, float | None]:
        """The number of events of each account that has a score."""
        return {
            account: message["scores"]["health"]["factors"][0]["value"]
            for account, message in self.all().items()
            if message.get("state") != "ended"
        }


@pytest.fixture
def world() -> World:
    world = World(plan_of(POLICY))
    assert len({world.home(account).number for account in (A, B, C)}) == 3, "each account has a partition of its own"
    for account, count in ((A, 1), (B, 2), (C, 4)):
        for number in range(count):
            world.use(account, f"user-{account}-{number}")
    world.finish(NOW)
    return world


def test_the_merged_account_has_ended_and_names_the_other_one(world: World) -> None:
    world.merge(B, A)
    message = world.all()[B]
    assert (message["state"], message["ended_at"], message["merged_into"]) == ("ended", NOW, A)
    assert message["last"] == {"health": {"value": 20.0, "band": "poor"}}
    assert world.counts() == {A: 3, C: 4}


def test_its_alerts_are_resolved_with_the_reason(world: World) -> None:
    world.merge(B, A)
    world.finish(NOW)
    alerts = [json.loads(each.value) for each in world.home(B).published if b"fingerprint" in each.value]
    assert [alert["status"] for alert in alerts] == ["firing", "resolved"]
    assert alerts[-1]["annotations"] == {"reason": "the account was merged into acme"}


def test_nothing_is_applied_until_the_merge_is_saved_and_then_the_row_is_empty(world: World) -> None:
    worker = world.home(B)
    world.merge(B, A)
    world.use(B)
    worker.take(10)
    assert worker.unsent == []
    assert worker.engine.position["product-usage"] == 2
    worker.commit()
    worker.take(10)
    assert [message.key for message in worker.unsent] == [A.encode(), A.encode()]
    worker.commit()
    assert [key for key in worker.changelog if key[:1] == b"p"] == [], "no page of users is left"
    assert world.counts() == {A: 4, C: 4}


@pytest.mark.parametrize("sent", [0, 1])
def test_the_state_counts_once_when_the_worker_crashes_before_or_after_it_was_sent(world: World, sent: int) -> None:
    worker = world.home(B)
    world.merge(B, A)
    worker.take(10)
    worker.commit()
    worker.hand_over()
    worker.crash(None, sent)
    assert world.counts() == {A: 3, C: 4}
    assert len(world.logs[REPARTITION, world.home(A).number]) == sent + 1


def test_a_record_that_a_crash_forwards_twice_counts_once_without_ids() -> None:
    world = World(plan_of(POLICY), dedup=False)
    world.merge(B, A)
    worker = world.home(B)
    worker.take(10)
    worker.commit()
    world.use(B)
    worker.take(10)
    worker.crash(None, 10)
    assert world.counts() == {A: 1}
    headers = [dict(each.headers).get(MERGED_HEADER) for each in world.logs[REPARTITION, world.home(A).number]]
    assert headers.count(b'["birch","product-usage/%d/product-usage",0]' % worker.number) == 2


def test_a_repeated_event_of_the_merged_account_is_dropped(world: World) -> None:
    event = world.use(B)
    world.merge(B, A)
    world.finish(NOW)
    world.append("product-usage", B.encode(), event, time_ms=99)
    assert world.counts() == {A: 4, C: 4}


def test_ids_of_the_two_accounts_may_be_the_same(world: World) -> None:
    world.merge(B, A)
    for account in (A, B):
        world.send("product-usage", account, id="same")
    assert world.counts() == {A: 5, C: 4}


@pytest.mark.parametrize("first", [(B, A), (A, C)])
def test_chains_in_any_order_are_one_account(world: World, first: tuple[str, str]) -> None:
    world.merge(*first)
    world.finish(NOW)
    for pair in ((B, A), (A, C)):
        world.merge(*pair)
        world.finish(NOW)
    world.use(A)
    world.use(B)
    assert world.counts() == {C: 9}
    assert world.all()[B]["merged_into"] == A


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        ((A, A), 'controls: "acme" can not be merged into itself - at `$.into`'),
        ((B, C), 'controls: "birch" was merged into "acme": merge that account instead - at `$.account_id`'),
        ((A, B), 'controls: "birch" was merged into "acme" before: the two would count for each other - at `$.into`'),
    ],
)
def test_merges_that_make_no_sense_are_dead_letters(world: World, pair: tuple[str, str], why: str) -> None:
    world.merge(B, A)
    world.finish(NOW)
    world.merge(*pair)
    assert world.counts() == {A: 3, C: 4}
    assert world.letters == [why]


def test_the_same_merge_again_does_nothing(world: World) -> None:
    for _ in range(2):
        world.merge(B, A)
        world.finish(NOW)
    assert (world.counts(), world.letters) == ({A: 3, C: 4}, [])


@pytest.mark.parametrize("circle", [((A, B), (B, A)), ((A, B), (B, C), (C, A))])
def test_a_circle_of_simultaneous_merges_opens_and_loses_nothing(
    world: World, circle: tuple[tuple[str, str], ...]
) -> None:
    for pair in circle:
        world.merge(*pair)
    for worker in world.workers:
        worker.take(10)
        worker.commit()
    for account, _ in circle:
        world.use(account)
    counts = world.counts()
    assert sum(count or 0 for count in counts.values()) == 7 + len(circle)
    assert world.letters
    assert all("and that one into" in why for why in world.letters)


def test_an_unknown_account_can_be_merged_and_be_merged_into(world: World) -> None:
    world.merge("nobody", A)
    world.merge(C, "fir")
    world.finish(NOW)
    world.use("nobody")
    assert world.counts() == {A: 2, B: 2, "fir": 4}
    assert "nobody" not in world.all()


def test_an_erasure_of_the_other_account_erases_both(world: World) -> None:
    world.merge(B, A)
    world.finish(NOW)
    world.send("controls", A, kind="erase")
    world.finish(NOW)
    assert world.counts() == {C: 4}
    saved = b"".join(key + value for worker in world.workers for key, value in worker.changelog.items())
    assert A.encode() not in saved
    assert B.encode() not in saved


def test_an_erasure_of_the_merged_account_leaves_what_the_other_one_has(world: World) -> None:
    world.merge(B, A)
    world.finish(NOW)
    world.send("controls", B, kind="erase")
    world.use(B)
    assert world.counts() == {A: 3, B: 1, C: 4}


def test_an_erasure_spares_an_account_that_has_come_back(world: World) -> None:
    world.merge(B, A)
    world.finish(NOW)
    world.send("controls", B, kind="erase")
    world.use(B)
    world.finish(NOW)
    world.send("controls", A, kind="erase")
    assert world.counts() == {B: 1, C: 4}


def test_a_deleted_profile_of_the_merged_account_does_not_end_the_other_one(world: World) -> None:
    world.send("accounts", A, name="Acme")
    world.send("accounts", B, name="Birch", tier="gold")
    world.append("accounts", B.encode(), None, time_ms=NOW - 1)
    world.merge(B, A)
    world.finish(NOW)
    world.append("accounts", B.encode(), None, time_ms=NOW)
    assert world.counts() == {A: 3, C: 4}
    accounts = world.home(A).engine.accounts
    assert accounts.profiles[accounts.index[A]].name == "Birch"


def test_a_state_that_people_write_is_a_dead_letter(world: World) -> None:
    merged = {"merge": "m", "account_id": B, "live": "p", "states": {"p": {"schema": "", "row": ""}}}
    world.send("controls", A, kind="merge", merged=merged)
    assert world.counts() == {A: 1, B: 2, C: 4}
    assert world.letters == ["controls: the state of an account is written by workers only - at `$.merged`"]


@pytest.mark.parametrize(
    "states",
    [
        {},
        {"p": {"schema": "", "row": ""}},
        {"p": {"schema": "e30=", "row": "AAECAwQFBgcI"}},
    ],
)
def test_a_state_that_cannot_be_read_is_a_dead_letter_and_no_crash(world: World, states: dict[str, Any]) -> None:
    merged = {"merge": "m", "account_id": B, "live": "p", "states": states}
    control = {"id": "m", "account_id": A, "time": NOW, "kind": "merge", "merged": merged}
    world.append(REPARTITION, A.encode(), json.dumps(control).encode(), [(ORIGIN_HEADER, b"controls")])
    assert world.counts() == {A: 1, B: 2, C: 4}
    (letter,) = world.letters
    assert letter.startswith(f'controls: the state of "{B}" cannot be read: ')
    assert letter.endswith(" - at `$.merged`")


def test_a_large_account_is_handed_over_in_several_records(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handed_over, "MOST_PAGE_BYTES", 2 * 12)
    for number in range(5):
        world.use(B, f"many-{number}")
    world.merge(B, A)
    world.merge(A, C)
    assert world.counts() == {C: 12}
    assert world.all()[C]["scores"]["health"]["factors"][1]["value"] == 12
    merged = [json.loads(each.value).get("merged") for each in world.logs[REPARTITION, world.home(A).number]]
    assert [each["last"] for each in merged if each] == [False, False, False, False, True]


def test_a_merge_in_the_wrong_partition_finds_its_account(world: World) -> None:
    value = json.dumps({"id": "m", "account_id": B, "time": NOW, "kind": "merge", "into": A}).encode()
    world.append("controls", A.encode(), value)
    assert world.counts() == {A: 3, C: 4}


def test_merges_outlive_a_restart(world: World) -> None:
    world.merge(B, A)
    world.finish(NOW)
    for worker in world.workers:
        worker.start()
    world.use(B)
    assert world.counts() == {A: 4, C: 4}
    assert world.all()[B]["merged_into"] == A
