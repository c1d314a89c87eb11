"""The cache against a real redis-server: no revision decreases, and no write is lost between two commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from agents.settings.settings import load_settings
from agents.sinks.redis.cache import CHUNK, EPOCH, Cache, PositionLostError, connect
from agents.sinks.redis.fields import Write, write_of
from agents.sinks.redis.process import kind_of
from tests.broker.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDS = {0: 10_000, 1: 10_000}


def record(account: str, offset: int, revision: int, **values: float) -> Write:
    scores = {name: {"value": value, "band": "low", "factors": []} for name, value in values.items()}
    value = {"account_id": account, "as_of": offset, "revision": revision, "scores": scores}
    return write_of(account.encode(), offset, json.dumps(value).encode())


def gone(account: str, offset: int) -> Write:
    return write_of(account.encode(), offset, None)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture(scope="module")
def reader(server: RedisServer) -> Iterator[Any]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def writer(server: RedisServer) -> Iterator[redis.Redis]:
    with connect(load_settings(redis_url=server.url)) as client:
        yield client


@pytest.fixture
def cache(writer: redis.Redis, reader: Any) -> Cache:
    reader.flushall()
    fresh = Cache(writer)
    assert fresh.read_state(ENDS).rebuilt == "empty"
    return fresh


def test_an_account_is_a_hash_and_a_member_of_each_score(cache: Cache, reader: Any) -> None:
    writes = [record("acme", 0, 5, health=67.5, upsell=3), record("beta", 1, 5, health=12.25)]
    assert cache.write(1, writes, 2) == {"written": 2}
    assert reader.hgetall("vitals:account:acme") == {
        "account_id": "acme",
        "as_of": "0",
        "revision": "5",
        "offset": "0",
        "partition": "1",
        "value:health": "67.5",
        "band:health": "low",
        "factors:health": "[]",
        "value:upsell": "3",
        "band:upsell": "low",
        "factors:upsell": "[]",
    }
    assert reader.zrange("vitals:score:health", 0, -1, withscores=True) == [("beta", 12.25), ("acme", 67.5)]
    assert reader.zrange("vitals:score:upsell", 0, -1, withscores=True) == [("acme", 3.0)]
    assert reader.hget(EPOCH, "offset:1") == "2"
    # A score that was removed from the policy is deleted.
    assert cache.write(1, [record("acme", 2, 6, health=70)], 3) == {"written": 1}
    assert "value:upsell" not in reader.hgetall("vitals:account:acme")
    assert reader.exists("vitals:score:upsell") == 0


def test_a_deleted_account_leaves_no_key(cache: Cache, reader: Any) -> None:
    cache.write(0, [record("acme", 0, 5, health=67.5, upsell=3)], 1)
    assert cache.write(0, [gone("acme", 1), gone("never", 2)], 3) == {"deleted": 1, "repeated": 1}
    assert sorted(reader.keys("vitals:*")) == ["vitals:epoch", "vitals:scores"]
    # The account may return with revisions that start again.
    assert cache.write(0, [record("acme", 3, 1, health=50)], 4) == {"written": 1}


def test_a_tombstone_deletes_only_what_its_own_partition_has(cache: Cache, reader: Any) -> None:
    """After a repartition the old partition gets the tombstone of an erased account, too, at any offset."""
    cache.write(1, [record("acme", 0, 5, health=60)], 1)
    assert cache.write(0, [gone("acme", 900)], 901) == {"stale": 1}
    assert reader.hget("vitals:account:acme", "partition") == "1"
    assert cache.write(1, [gone("acme", 1)], 2) == {"deleted": 1}
    assert not reader.exists("vitals:account:acme")


def test_a_tombstone_deletes_what_a_version_without_partitions_has_written(cache: Cache, reader: Any) -> None:
    cache.write(1, [record("acme", 0, 5, health=60)], 1)
    reader.hdel("vitals:account:acme", "partition")
    assert cache.write(1, [gone("acme", 1)], 2) == {"deleted": 1}


def test_each_write_is_published_and_a_stale_record_is_not(cache: Cache, reader: Any) -> None:
    with reader.pubsub() as all_changes, reader.pubsub() as changes_of_beta:
        all_changes.subscribe("vitals:changes")
        changes_of_beta.subscribe("vitals:changes:beta")
        assert (
            all_changes.get_message(timeout=5)["type"] == changes_of_beta.get_message(timeout=5)["type"] == "subscribe"
        )
        cache.write(
            0, [record("acme", 0, 5, health=1), record("beta", 1, 5, health=2), record("acme", 2, 4, health=9)], 3
        )
        cache.write(0, [record("beta", 3, 6, health=3), gone("beta", 4)], 5)
        messages = [json.loads(all_changes.get_message(timeout=5)["data"]) for _ in range(4)]
        assert [(message["account_id"], message.get("revision")) for message in messages] == [
            ("acme", 5),
            ("beta", 5),
            ("beta", 6),
            ("beta", None),
        ]
        assert messages[2]["scores"] == {"health": {"value": 3, "band": "low"}}
        assert messages[3] == {"account_id": "beta", "deleted": True}
        assert [json.loads(changes_of_beta.get_message(timeout=5)["data"]) for _ in range(3)] == messages[1:]
        assert all_changes.get_message() is changes_of_beta.get_message() is None


Version = tuple[str, int]
"""An account and a revision; the offset is the index in the list."""
VERSIONS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), min_size=1, max_size=12)


@given(VERSIONS, st.data())
def test_the_highest_version_wins_in_any_order(
    writer: redis.Redis, reader: Any, versions: list[Version], data: st.DataObject
) -> None:
    reader.flushall()
    cache = Cache(writer)
    cache.read_state(ENDS)
    offsets = st.integers(0, len(versions) - 1)
    order = data.draw(st.permutations(range(len(versions)))) + data.draw(st.lists(offsets, max_size=12))
    expected: dict[str, tuple[int, int]] = {}
    while order:
        size = data.draw(st.integers(1, len(order)))
        batch, order = order[:size], order[size:]
        cache.write(0, [record(versions[offset][0], offset, versions[offset][1], health=offset) for offset in batch], 0)
        for offset in batch:
            account, revision = versions[offset]
            expected[account] = max(expected.get(account, (0, 0)), (revision, offset))
        stored = {account: reader.hmget(f"vitals:account:{account}", "revision", "offset") for account in expected}
        assert stored == {account: [str(revision), str(offset)] for account, (revision, offset) in expected.items()}
        assert dict(reader.zrange("vitals:score:health", 0, -1, withscores=True)) == {
            account: float(offset) for account, (_, offset) in expected.items()
        }


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(1, 6)), max_size=12), st.data())
def test_reading_again_from_any_offset_gives_the_same_cache(
    writer: redis.Redis, reader: Any, log: list[tuple[str, int | None]], data: st.DataObject
) -> None:
    reader.flushall()
    cache = Cache(writer)
    cache.read_state(ENDS)
    writes = [
        gone(account, offset) if revision is None else record(account, offset, revision, health=offset)
        for offset, (account, revision) in enumerate(log)
    ]
    for begin in [0, *data.draw(st.lists(st.integers(0, len(log)), max_size=3))]:
        reader.hset(EPOCH, "offset:0", begin)
        cache.read_state(ENDS)
        cache.write(0, writes[begin:], len(log))
    expected: dict[str, tuple[int, int]] = {}
    for offset, (account, revision) in enumerate(log):
        if revision is None:
            expected.pop(account, None)
        else:
            expected[account] = max(expected.get(account, (0, 0)), (revision, offset))
    keys = [key.removeprefix("vitals:account:") for key in reader.keys("vitals:account:*")]
    stored = {key: tuple(map(int, reader.hmget(f"vitals:account:{key}", "revision", "offset"))) for key in keys}
    assert stored == expected


def test_nothing_is_written_to_an_emptied_cache_before_its_state_is_read(cache: Cache, reader: Any) -> None:
    cache.write(0, [record("acme", 0, 5, health=1)], 1)
    first = reader.hget(EPOCH, "id")
    reader.flushall()
    with pytest.raises(PositionLostError):
        cache.write(0, [record("acme", 1, 6, health=2)], 2)
    with pytest.raises(PositionLostError):
        cache.mark_alive(complete=True)
    assert reader.keys("*") == []
    state = cache.read_state(ENDS)
    assert (state.rebuilt, state.written) == ("empty", {})
    assert reader.hget(EPOCH, "id") != first


def test_nothing_is_written_to_a_cache_at_another_offset(cache: Cache, reader: Any) -> None:
    cache.write(0, [record("acme", 0, 5, health=1)], 10)
    reader.hset(EPOCH, "offset:0", 7)  # as after a restart from a snapshot
    with pytest.raises(PositionLostError):
        cache.write(0, [record("acme", 10, 6, health=2)], 11)
    assert reader.hget("vitals:account:acme", "revision") == "5"
    assert cache.read_state(ENDS) == ({0: 7}, None)
    assert cache.write(0, [record("acme", 10, 6, health=2)], 11) == {"written": 1}


def test_chunks_after_a_failed_one_are_not_written(cache: Cache, reader: Any) -> None:
    writes = [record(f"a{offset}", offset, 1, health=offset) for offset in range(3 * CHUNK)]
    in_the_way = f"vitals:account:a{CHUNK + 5}"
    reader.set(in_the_way, "somebody else's")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        cache.write(0, writes, 3 * CHUNK)
    assert reader.hget(EPOCH, "offset:0") == str(CHUNK)
    assert reader.exists(f"vitals:account:a{2 * CHUNK}") == 0
    reader.delete(in_the_way)
    assert cache.read_state(ENDS).written == {0: CHUNK}
    assert cache.write(0, writes[CHUNK:], 3 * CHUNK) == {"repeated": 5, "written": 2 * CHUNK - 5}
    assert reader.zcard("vitals:score:health") == 3 * CHUNK


def test_a_retry_writes_what_an_error_left_out(cache: Cache, reader: Any) -> None:
    reader.set("vitals:score:upsell", "somebody else's")
    writes = [record("acme", 0, 1, health=1, upsell=2)]
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        cache.write(0, writes, 1)
    reader.delete("vitals:score:upsell")
    cache.read_state(ENDS)
    assert cache.write(0, writes, 1) == {"written": 1}
    assert reader.zscore("vitals:score:upsell", "acme") == 2


def test_a_full_redis_accepts_nothing_and_loses_nothing(cache: Cache, reader: Any) -> None:
    cache.write(0, [record("acme", 0, 5, health=1)], 1)
    reader.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.ResponseError) as refused:
            cache.write(0, [record("acme", 1, 6, health=2)], 2)
        assert kind_of(refused.value) == "full"
        assert not cache.may_evict()
        reader.config_set("maxmemory", "1gb")
        reader.config_set("maxmemory-policy", "allkeys-lru")
        assert cache.may_evict()
    finally:
        reader.config_set("maxmemory-policy", "noeviction")
        reader.config_set("maxmemory", 0)
    assert cache.read_state(ENDS).written == {0: 1}
    assert cache.write(0, [record("acme", 1, 6, health=2)], 2) == {"written": 1}


def test_a_flushed_script_is_loaded_again(cache: Cache, reader: Any) -> None:
    reader.script_flush()
    with pytest.raises(redis.exceptions.NoScriptError):
        cache.write(0, [record("acme", 0, 5, health=1)], 1)
    cache.read_state(ENDS)
    assert cache.write(0, [record("acme", 0, 5, health=1)], 1) == {"written": 1}


def test_a_cache_not_updated_for_too_long_is_rebuilt(cache: Cache, reader: Any, writer: redis.Redis) -> None:
    many = [record(f"a{offset}", offset, 1, health=offset) for offset in range(1_500)]
    cache.write(0, many, 1_500)
    an_hour = 3_600
    now_s = reader.time()[0]
    reader.hset(EPOCH, "at", now_s - 11 * an_hour)
    assert Cache(writer).read_state({0: 1_600}).rebuilt is None
    reader.hset(EPOCH, "at", now_s - 13 * an_hour)
    assert Cache(writer).read_state({0: 1_500}).rebuilt is None, "nothing was missed"
    state = Cache(writer).read_state({0: 1_600})
    assert (state.written, bool(state.rebuilt)) == ({}, True)
    assert reader.keys("*") == [EPOCH]


def test_a_recreated_topic_rebuilds_the_cache(cache: Cache, reader: Any) -> None:
    cache.write(0, [record("acme", 99, 5, health=1)], 100)
    state = cache.read_state({0: 4})
    assert (state.written, state.rebuilt) == ({}, "the topic was recreated")
    assert reader.keys("*") == [EPOCH]


def test_the_epoch_shows_when_the_cache_is_complete(cache: Cache, reader: Any) -> None:
    cache.mark_alive(complete=False)
    assert reader.hget(EPOCH, "complete") is None
    cache.mark_alive(complete=True)
    assert reader.hget(EPOCH, "complete") == "1"
