"""Which events are duplicates: by source, account and id, also with the ids that version 0.1.0 saved."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codecs import INVALID_FIELD, decode
from schemas.sources import BUILT_IN
from stream.columns.hash_index import hash_ids
from stream.engine.engine import Engine, Mode
from stream.ingest.batch import Batch
from stream.ingest.event_ids import SeenIds, Segment
from stream.plan.plan import Plan, compile_plan
from stream.policy.policy import parse_policy
from stream.recovery.changelog import restore, snapshot

DAY_MS = 86_400_000
NOW_MS = 20_040 * DAY_MS
POLICY = """
name = "p"
[measures.uses]
source = "product-usage"
stat = "count"
window = "30d"
[measures.users]
source = "product-usage"
stat = "distinct_users"
window = "30d"
[scores.health]
model = "additive"
min_change = 0
impacts = { uses = 1, users = 1 }
bands = [{ name = "all", from = 0 }]
"""


def plan() -> Plan:
    return compile_plan(parse_policy(POLICY, "p.toml"))


def usage(account: str, event_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": event_id, "account_id": account, "time": NOW_MS, **fields}


def batch(events: list[dict[str, Any]], first: int = 0) -> Batch:
    decoded = decode(BUILT_IN["product-usage"], [msgspec.json.encode(event) for event in events])
    assert not decoded.rejects
    offsets = np.arange(first, first + len(events))
    return Batch("product-usage", offsets, offsets + NOW_MS, decoded.events, first + len(events))


def counted(engine: Engine) -> dict[str, int]:
    accounts = engine.accounts
    return {name: int(accounts.applied[row]) for row, name in enumerate(accounts.index.names) if accounts.applied[row]}


def saved(engine: Engine) -> dict[bytes, bytes]:
    return {key: value for key, value in snapshot(engine) if value is not None}


def test_two_accounts_may_have_the_same_ids() -> None:
    engine = Engine(plan(), dedup_ids=100)
    ids = ("1", "2", "3", "4", "5")
    effects = engine.step(
        [batch([usage(tenant, event_id) for tenant in ("acme", "birch") for event_id in ids])], Mode.HEAD, None
    )
    assert counted(engine) == {"acme": 5, "birch": 5}
    assert effects.outcomes["product-usage", "duplicate"] == 0


def test_what_a_producer_repeats_is_dropped_whatever_it_contains() -> None:
    engine = Engine(plan(), dedup_ids=100)
    again = [usage("acme", "1"), usage("birch", "1"), usage("acme", "1", count=7, user_id="ann")]
    effects = engine.step([batch(again)], Mode.HEAD, None)
    assert effects.outcomes["product-usage", "duplicate"] == 1
    effects = engine.step([batch(again, first=3)], Mode.HEAD, None)
    assert effects.outcomes["product-usage", "duplicate"] == 3
    assert counted(engine) == {"acme": 1, "birch": 1}
    (acme, _) = (msgspec.json.decode(message.value) for message in engine.current().scores)
    values = {factor["measure"]: factor["value"] for factor in acme["scores"]["health"]["factors"]}
    assert (values["uses"], values["users"]) == (1, 0), "the first one counts"


def test_restored_ids_are_known_with_their_accounts() -> None:
    engine = Engine(plan(), dedup_ids=100)
    engine.step([batch([usage("birch", "x"), usage("acme", "1")])], Mode.HEAD, None)
    after = Engine(plan(), dedup_ids=100)
    restore(after, saved(engine))
    effects = after.step([batch([usage("acme", "1"), usage("birch", "1"), usage("cedar", "1")], 2)], Mode.HEAD, None)
    assert effects.outcomes["product-usage", "duplicate"] == 1
    assert counted(after) == {"acme": 1, "birch": 2, "cedar": 1}


def as_saved_by_0_1_0(records: dict[bytes, bytes], ids: list[str]) -> dict[bytes, bytes]:
    """The records with event ids in the form of 0.1.0: hashes of the ids alone, under the name of the source."""
    segment = np.int64(NOW_MS).tobytes() + hash_ids(ids).tobytes()
    others = {key: value for key, value in records.items() if key[:1] != b"i"}
    return others | {b"iproduct-usage\0" + bytes(8): segment}


def test_ids_that_0_1_0_saved_are_known_for_the_accounts_that_had_events() -> None:
    engine = Engine(plan(), dedup_ids=100)
    engine.step([batch([usage("acme", "1"), usage("birch", "2")])], Mode.HEAD, None)
    after = Engine(plan(), dedup_ids=4)
    restore(after, as_saved_by_0_1_0(saved(engine), ["1", "2"]))
    effects = after.step([batch([usage("acme", "1"), usage("cedar", "1"), usage("cedar", "2")], 2)], Mode.HEAD, None)
    assert effects.outcomes["product-usage", "duplicate"] == 1
    assert counted(after) == {"acme": 1, "birch": 1, "cedar": 2}


def test_ids_that_0_1_0_saved_are_forgotten_when_a_generation_is_full() -> None:
    engine = Engine(plan(), dedup_ids=100)
    engine.step([batch([usage("acme", "0")])], Mode.HEAD, None)
    after = Engine(plan(), dedup_ids=4)
    restore(after, as_saved_by_0_1_0(saved(engine), ["1", "2"]))
    assert after.seen["product-usage"].nbytes() > SeenIds(4).nbytes()
    after.step([batch([usage("acme", f"new-{number}") for number in range(4)], 2)], Mode.HEAD, None)
    written = dict(snapshot(after))
    assert written[b"iproduct-usage\0" + bytes(8)] is None
    assert any(key.startswith(b"iproduct-usage/account\0") and value for key, value in written.items())
    after.step([batch([usage("acme", "1")], 6)], Mode.HEAD, None)
    assert counted(after) == {"acme": 6}
    assert not any(key.startswith(b"iproduct-usage\0") for key in dict(snapshot(after)))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("123")), max_size=12))
def test_an_event_is_known_by_account_and_id(events: list[tuple[str, str]]) -> None:
    seen = SeenIds(1000)
    fresh = seen.add_events(
        hash_ids([account for account, _ in events]),
        hash_ids([event_id for _, event_id in events]),
        np.zeros(len(events), dtype=np.int64),
        NOW_MS,
    )
    assert fresh.tolist() == [event not in events[:index] for index, event in enumerate(events)]


def test_an_id_equal_to_the_account_is_no_special_case() -> None:
    names = [f"n{number}" for number in range(300)]
    pairs = [(account, event_id) for account in names for event_id in names]
    seen = SeenIds(10**6)
    rows = np.zeros(len(pairs), dtype=np.int64)
    fresh = seen.add_events(hash_ids([a for a, _ in pairs]), hash_ids([b for _, b in pairs]), rows, NOW_MS)
    assert fresh.all()


@pytest.mark.parametrize("padding", [" {}", "{} ", "\t{}\r\n", "\u00a0{}\u2003"])
def test_white_space_at_the_ends_of_ids_and_users_is_left_out(padding: str) -> None:
    engine = Engine(plan(), dedup_ids=100)
    events = [
        usage("acme", "1", user_id="ann"),
        usage(padding.format("acme"), "2", user_id=padding.format("ann")),
        usage("acme", padding.format("2")),
        usage(padding.format("birch"), "1"),
    ]
    effects = engine.step([batch(events)], Mode.HEAD, None)
    assert effects.outcomes == Counter({("product-usage", "applied"): 3, ("product-usage", "duplicate"): 1})
    assert engine.accounts.index.names == ["acme", "birch"]
    (acme, _) = (msgspec.json.decode(message.value) for message in engine.current().scores)
    values = {factor["measure"]: factor["value"] for factor in acme["scores"]["health"]["factors"]}
    assert (values["uses"], values["users"]) == (2, 1)


@pytest.mark.parametrize("user", ["", " ", "\t\u00a0", None])
def test_a_blank_user_is_no_user(user: str | None) -> None:
    engine = Engine(plan(), dedup_ids=100)
    engine.step([batch([usage("acme", "1", user_id=user), usage("acme", "2", user_id="ann")])], Mode.HEAD, None)
    (acme,) = (msgspec.json.decode(message.value) for message in engine.current().scores)
    values = {factor["measure"]: factor["value"] for factor in acme["scores"]["health"]["factors"]}
    assert (values["uses"], values["users"]) == (2, 1)


@pytest.mark.parametrize("dedup_ids", [100, None])
@pytest.mark.parametrize(("field", "event"), [("account_id", usage(" \t", "1")), ("id", usage("acme", "\u2003"))])
def test_a_blank_id_is_refused(field: str, event: dict[str, Any], dedup_ids: int | None) -> None:
    engine = Engine(plan(), dedup_ids=dedup_ids)
    effects = engine.step([batch([usage("birch", "1"), event, usage("birch", "2")])], Mode.HEAD, None)
    ((_, offset, reason, message),) = effects.dead_letters
    assert (offset, reason) == (1, INVALID_FIELD)
    assert message == f"product-usage: {field} must not be blank - at `$.{field}`"
    assert effects.outcomes == Counter({("product-usage", "applied"): 2, ("product-usage", "rejected"): 1})
    assert counted(engine) == {"birch": 2}


def test_a_padded_account_of_another_partition_is_forwarded_to_the_partition_of_its_name() -> None:
    engine = Engine(plan(), owns=lambda account: account != "acme", dedup_ids=100)
    effects = engine.step([batch([usage(" acme ", "1"), usage("birch", "1")])], Mode.HEAD, None)
    assert [forward.account for forward in effects.forwards] == ["acme"]
    assert counted(engine) == {"birch": 1}


def test_a_load_without_segments_of_0_1_0_knows_no_ids_alone() -> None:
    seen = SeenIds(4)
    seen.load([Segment(0, 0, np.int64(NOW_MS).tobytes() + hash_ids(["1"]).tobytes())])
    assert seen.ids_alone is None
