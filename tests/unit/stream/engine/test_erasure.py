"""What a control that erases an account does, one thing a test; the oracle judges whole logs in tests/property."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.outputs import Alert, ScoreMessage
from schemas.sources import BUILT_IN
from schemas.topics import CHANGES
from stream.columns.hash_index import stable_hash
from stream.engine.engine import Engine, Mode
from stream.ingest.merge import Merge
from stream.publishing.effects import Effects
from stream.recovery import changelog
from stream.recovery.reconciler import Reconciler, Tail
from stream.recovery.record_form import STATE_KEY
from stream.recovery.repartition import unfinished
from tests.driving.engine import fetches_of, plan_of
from tests.oracle.events import Record

NOW = 20_000 * 86_400_000
DAY = 86_400_000
POLICY = """
name = "p"
[measures.users]
source = "product-usage"
stat = "distinct_users"
window = "30d"
normalise = { kind = "linear", zero_at = 0, hundred_at = 10 }
weight = 1
[scores.health]
min_change = 1
bands = [{ name = "good", from = 50 }, { name = "poor", from = 0, alert = "critical" }]
"""


class World:
    """An engine, the offsets of its topics and its changelog."""

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = Engine(plan_of(POLICY)) if engine is None else engine
        self.offsets: dict[str, int] = {}
        self.log: list[Record] = []
        self.changelog: dict[bytes, bytes] = {}
        self.mode = Mode.HEAD

    def record(self, source: str, account: str, at_ms: int = NOW, **fields: Any) -> Record:
        offset = self.offsets.get(source, 0)
        self.offsets[source] = offset + 1
        event = {"id": f"{source}-{offset}", "account_id": account, "time": at_ms, **fields}
        record = Record(source, 0, offset, NOW + len(self.log), account.encode(), json.dumps(event).encode())
        self.log.append(record)
        return record

    def use(self, account: str, user: str, at_ms: int = NOW) -> Record:
        return self.record("product-usage", account, at_ms, user_id=user)

    def erase(self, account: str, at_ms: int = NOW, **fields: Any) -> Record:
        return self.record("controls", account, at_ms, kind="erase", **fields)

    def take(self, *records: Record) -> Effects:
        merge = Merge(BUILT_IN)
        for fetch in fetches_of(records):
            merge.add(fetch)
        return self.engine.step(merge.release(lambda _source: False), self.mode, None)

    def save(self, written: int | None = None) -> list[bytes]:
        """Commit; returns the keys in the order in which they were written."""
        self.engine.flush(self.mode)
        snapshot = changelog.snapshot(self.engine)[:written]
        for key, value in snapshot:
            changelog.keep_newer(self.changelog, key, value)
        return [key for key, _ in snapshot]

    def restored(self, *tail: tuple[bytes | None, bytes | None]) -> World:
        world = World(Engine(plan_of(POLICY)))
        changelog.restore(world.engine, self.changelog)
        Reconciler({CHANGES: Tail(0, len(tail), tail)}).load(world.engine)
        world.changelog = self.changelog
        return world

    def bytes_with(self, *needles: bytes) -> list[bytes]:
        """Keys of the changelog records that have one of these bytes."""
        return [key for key, value in self.changelog.items() if any(each in key + b" " + value for each in needles)]


def score_of(effects: Effects, account: str) -> ScoreMessage:
    (value,) = [each.value for each in effects.scores if each.key == account.encode()]
    return msgspec.json.decode(value, type=ScoreMessage)


@pytest.fixture
def world() -> World:
    world = World()
    profile = world.record("accounts", "acme", name="Acme Inc")
    world.take(profile, *(world.use("acme", f"user-{number}") for number in range(3)), world.use("other", "somebody"))
    world.save()
    return world


def test_tombstones_are_published_and_open_alerts_are_resolved_without_the_name(world: World) -> None:
    effects = world.take(world.erase("acme"))
    assert [(each.account, each.in_changes) for each in effects.erased] == [(b"acme", False)]
    assert effects.scores == effects.changes == []
    (alert,) = [msgspec.json.decode(each.value, type=Alert) for each in effects.alerts]
    assert (alert.status, alert.account_id, alert.rule) == ("resolved", "acme", "band:health:poor")
    assert alert.annotations == {"reason": "the account was erased"}
    assert "Inc" not in str(alert)
    assert (alert.score, alert.band, alert.starts_at, alert.ends_at) == (None, None, NOW, NOW)
    assert effects.outcomes == {("controls", "applied"): 1}


def test_nothing_is_left_in_the_changelog_after_the_commit(world: World) -> None:
    needles = (b"acme", *(stable_hash(f"user-{number}").to_bytes(8, "little") for number in range(3)))
    assert len(world.bytes_with(*needles)) == 2, "a row and a page"
    world.take(world.erase("acme"))
    keys = world.save()
    assert world.bytes_with(*needles) == []
    first, last = keys.index(STATE_KEY), len(keys) - 1 - keys[::-1].index(STATE_KEY)
    deleted = [index for index, key in enumerate(keys) if b"acme" in key]
    assert first < min(deleted), "deletions come after a state that names the account"
    assert max(deleted) < last, "and before one that does not"
    assert "acme" not in world.engine.accounts.index
    members = world.engine.members()[0]
    assert len(members) == 1, "hashes are gone from memory, too"


def test_a_crash_between_the_state_and_the_deletions_leaves_nothing_either(world: World) -> None:
    world.take(world.erase("acme"))
    keys = changelog.snapshot(world.engine)
    for key, value in keys[: [key for key, _ in keys].index(STATE_KEY) + 1]:
        changelog.keep_newer(world.changelog, key, value)
    assert world.bytes_with(b"acme")
    assert unfinished(world.changelog) == "acme", "such state is not moved to other partitions"
    again = world.restored()
    assert "acme" not in again.engine.accounts.index
    again.offsets = dict(world.offsets)
    again.take(again.use("acme", "anew"))
    again.save()
    assert again.restored().engine.accounts.applied[again.engine.accounts.index["acme"]] == 1
    again.take(again.erase("acme"))
    again.save()
    assert again.bytes_with(b"acme") == []


def test_an_event_after_the_erasure_begins_a_new_account_with_larger_revisions(world: World) -> None:
    before = score_of_all(world)["acme"].revision
    effects = world.take(world.erase("acme"), world.use("acme", "anew"))
    message = score_of(effects, "acme")
    assert message.scores["health"].value == 10
    assert message.segment is None
    assert message.revision > before
    world.save()
    again = world.restored()
    assert score_of_all(again)["acme"] == message
    assert again.engine.accounts.profiles == {}


def test_revisions_go_on_after_the_row_is_gone(world: World) -> None:
    before = score_of_all(world)["acme"].revision
    world.take(world.erase("acme"))
    world.save()
    again = world.restored()
    again.offsets = world.offsets
    assert score_of(again.take(again.use("acme", "anew")), "acme").revision > before


def score_of_all(world: World) -> dict[str, ScoreMessage]:
    messages = [msgspec.json.decode(each.value, type=ScoreMessage) for each in world.engine.current().scores]
    return {message.account_id: message for message in messages}


def test_an_erasure_is_never_late_and_moves_no_clock(world: World) -> None:
    world.take(world.use("other", "somebody", NOW + 400 * DAY))
    as_of = world.engine.as_of
    effects = world.take(world.erase("acme", NOW - 5_000 * DAY))
    assert effects.outcomes == {("controls", "applied"): 1}
    assert world.engine.as_of == as_of
    assert world.engine.time.watermarks.keys() == {"product-usage"}


def test_an_erasure_in_the_future_or_before_2000_is_a_dead_letter(world: World) -> None:
    record = world.erase("acme", 1)
    assert [letter.reason for letter in world.take(record).dead_letters] == ["implausible_time"]
    assert "acme" in score_of_all(world)


def test_a_repetition_is_a_duplicate_and_leaves_the_new_account(world: World) -> None:
    world.take(world.erase("acme", id="once"), world.use("acme", "anew"))
    effects = world.take(world.erase("acme", id="once"))
    assert effects.outcomes == {("controls", "duplicate"): 1}
    assert effects.erased == []
    assert score_of_all(world)["acme"].scores["health"].value == 10


def test_what_a_repetition_keeps_back_in_its_step_is_published_with_the_next_flush(world: World) -> None:
    world.take(world.erase("acme", id="once"), world.use("acme", "anew"))
    effects = world.take(world.use("acme", "second"), world.erase("acme", id="once"))
    assert [each.key for each in effects.scores] == []
    assert score_of(world.engine.flush(Mode.HEAD), "acme").scores["health"].value == 20


def test_a_second_erasure_and_one_of_an_unknown_account_publish_tombstones_again(world: World) -> None:
    world.take(world.erase("acme"))
    world.save()
    for account in ("acme", "nobody"):
        effects = world.take(world.erase(account))
        assert [each.account for each in effects.erased] == [account.encode()]
        assert effects.alerts == []
        world.save()
        assert account not in world.engine.accounts.index


@pytest.mark.parametrize("mode", [Mode.CONFLATED, Mode.EXACT])
def test_alerts_are_resolved_also_while_catching_up(world: World, mode: Mode) -> None:
    world.mode = mode
    effects = world.take(world.erase("acme"), world.use("other", "another"))
    assert [json.loads(each.value)["status"] for each in effects.alerts if each.key == b"acme"] == ["resolved"]


def test_a_step_publishes_nothing_of_what_comes_before_the_erasure(world: World) -> None:
    effects = world.take(*(world.use("acme", f"more-{number}") for number in range(5)), world.erase("acme"))
    assert [each for each in (*effects.scores, *effects.changes) if each.key == b"acme"] == []


def test_an_account_of_another_partition_is_forwarded() -> None:
    world = World(Engine(plan_of(POLICY), owns=lambda account: account != "foreign"))
    effects = world.take(world.use("acme", "user"), world.erase("foreign"))
    assert [forward.account for forward in effects.forwards] == ["foreign"]
    assert effects.erased == []


def test_the_row_is_used_again_and_has_nothing_of_the_account_before(world: World) -> None:
    row = world.engine.accounts.index["acme"]
    world.take(world.erase("acme"))
    world.save()
    message = score_of(world.take(world.use("successor", "user-1")), "successor")
    accounts = world.engine.accounts
    assert accounts.index["successor"] == row
    assert message.scores["health"].value == 10
    assert row not in accounts.profiles
    assert accounts.applied_offsets[row].max() == world.offsets["product-usage"] - 1
    world.save()
    assert set(score_of_all(world.restored())) == {"successor", "other"}


def test_a_replay_after_a_crash_publishes_nothing_until_it_has_come_by_the_erasure(world: World) -> None:
    late = [world.use("acme", "fourth"), world.use("other", "another")]
    erasure, after = world.erase("acme"), world.use("acme", "anew")
    again = world.restored((None, b"acme"))
    effects = again.take(*late)
    assert {each.key for each in effects.scores} == {b"other"}
    assert {json.loads(each.value)["account_id"] for each in effects.alerts} <= {"other"}
    effects = again.take(erasure)
    assert [(each.account, each.in_changes) for each in effects.erased] == [(b"acme", True)]
    assert score_of(again.take(after), "acme").scores["health"].value == 10


def test_a_replay_over_a_saved_new_row_skips_the_profile_and_the_erasure(world: World) -> None:
    profile = world.record("accounts", "acme", NOW + 1, id="zz", name="Acme again")
    erasure, after = world.erase("acme"), world.use("acme", "anew")
    world.take(profile, erasure, after)
    revision = score_of_all(world)["acme"].revision
    snapshot = changelog.snapshot(world.engine)
    keys = [key for key, _ in snapshot]
    for key, value in snapshot[: keys.index(STATE_KEY)]:
        changelog.keep_newer(world.changelog, key, value)
    again = world.restored((None, b"acme"))
    effects = again.take(profile, erasure, after)
    assert effects.erased == []
    assert effects.outcomes["accounts", "applied"] == 0
    assert again.engine.accounts.profiles == {}
    assert again.engine.settled["controls", "applied"] == 1
    assert score_of_all(again)["acme"].revision == revision
    assert score_of(again.engine.flush(Mode.HEAD), "acme").scores["health"].value == 10


def test_everything_of_a_row_is_as_in_a_new_one(world: World) -> None:
    """So that a field which is added later is not forgotten."""
    accounts = world.engine.accounts
    world.take(world.record("controls", "acme", kind="override", score=9, reason="x", expires_at=NOW + DAY))
    world.take(world.record("controls", "acme", kind="snooze", rule="band:health:poor", until=NOW + DAY))
    world.take(world.erase("acme"))
    row = accounts.index["acme"]
    new = Engine(plan_of(POLICY)).accounts
    new.index.rows(["acme"])
    new.reserve()
    for name in vars(new):
        mine, fresh = getattr(accounts, name), getattr(new, name)
        if name == "applied_offsets":
            continue
        if isinstance(mine, np.ndarray):
            assert np.array_equal(mine[row], fresh[0], equal_nan=mine.dtype.kind == "f"), name
        elif isinstance(mine, dict) and name not in {"index", "before"}:
            assert row not in mine, name
