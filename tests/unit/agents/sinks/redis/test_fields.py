"""How the Redis sink converts a record, and which records of a backlog it selects."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.sinks.redis.backlog import Backlog
from agents.sinks.redis.fields import write_of
from schemas.codecs import encode
from schemas.outputs import Factor, LastScore, Override, ScoreMessage, ScoreValue
from schemas.records import UnreadableError

FACTOR = {"measure": "nps", "value": None, "points": None, "weight": 0.5, "contribution": 0.0}


def test_every_member_of_a_record_is_a_field() -> None:
    scores = {
        "health": ScoreValue(67.5, "attention", [Factor("nps", None, None, 0.5, 0.0)], exceptions=["nps"]),
        "upsell": ScoreValue(12.25, "poor", []),
    }
    override = Override('he said "no"', since=1, expires_at=2, band="poor")
    message = ScoreMessage("açme", 17, 4, "p@1", None, scores, override=override, arr=1e6)
    write = write_of("açme".encode(), 99, encode(message))
    assert (write.account, write.offset, write.revision) == ("açme".encode(), 99, 4)
    assert write.values == {"health": 67.5, "upsell": 12.25}
    plain = {name: value.decode() for name, value in write.fields.items() if not value.startswith((b"{", b"["))}
    assert plain == {
        "account_id": "açme",
        "as_of": "17",
        "revision": "4",
        "policy": "p@1",
        "arr": "1000000.0",
        "value:health": "67.5",
        "band:health": "attention",
        "value:upsell": "12.25",
        "band:upsell": "poor",
    }
    parsed = {name: json.loads(value) for name, value in write.fields.items() if name not in plain}
    assert parsed == {
        "override": {"reason": 'he said "no"', "since": 1, "expires_at": 2, "band": "poor"},
        "factors:health": [FACTOR],
        "exceptions:health": ["nps"],
        "factors:upsell": [],
    }
    assert json.loads(write.message) == {
        "account_id": "açme",
        "as_of": 17,
        "revision": 4,
        "scores": {"health": {"value": 67.5, "band": "attention"}, "upsell": {"value": 12.25, "band": "poor"}},
    }


def test_an_account_without_a_score_is_in_no_sorted_set_and_keeps_its_hash() -> None:
    scores = {"health": ScoreValue(None, None, [Factor("nps", None, None, 0.0, 0.0)])}
    message = ScoreMessage("a", 17, 5, "p@1", None, scores, state="ended", ended_at=16)
    message.last = {"health": LastScore(67.5, "attention")}
    write = write_of(b"a", 99, encode(message))
    assert write.values == {}
    assert (write.fields["state"], write.fields["ended_at"]) == (b"ended", b"16")
    assert json.loads(write.fields["last"]) == {"health": {"value": 67.5, "band": "attention"}}
    assert "value:health" not in write.fields
    assert json.loads(write.message)["scores"] == {"health": {"value": None, "band": None}}


def test_unknown_members_become_fields() -> None:
    record = {
        "account_id": "a",
        "as_of": 1,
        "revision": 1,
        "stalled_sources": ["billing"],
        "scores": {"health": {"value": 1, "band": "poor", "confidence": 0.75}},
    }
    fields = write_of(b"a", 0, json.dumps(record).encode()).fields
    assert json.loads(fields["stalled_sources"]) == ["billing"]
    assert fields["confidence:health"] == b"0.75"


def test_a_null_value_deletes() -> None:
    write = write_of(b"a", 5, None)
    assert (write.revision, write.fields, write.values) == (None, {}, {})
    assert json.loads(write.message) == {"account_id": "a", "deleted": True}


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"scores":{}}', b'{"account_id":"a","as_of":1,"revision":1}'])
def test_a_record_that_is_not_a_score_message_is_refused(value: bytes) -> None:
    with pytest.raises(UnreadableError):
        write_of(b"a", 0, value)


Log = list[tuple[bytes, int | None]]
LOGS: st.SearchStrategy[Log] = st.lists(
    st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.none() | st.integers(1, 9)), max_size=25
)


def held(log: Log, offsets: list[int]) -> dict[bytes, tuple[int, int]]:
    """Return (revision, offset) by account after these records were written in this order, as the sink writes them."""
    cache: dict[bytes, tuple[int, int]] = {}
    for offset in offsets:
        account, revision = log[offset]
        if revision is None:
            cache.pop(account, None)
        elif account not in cache or (revision, offset) > cache[account]:
            cache[account] = (revision, offset)
    return cache


@given(LOGS)
def test_writing_only_the_selected_records_gives_the_same_cache(log: Log) -> None:
    backlog = Backlog()
    for offset, (account, revision) in enumerate(log):
        backlog.read(0, offset, account, None if revision is None else b'{"revision":%d}' % revision)
    selected = sorted(offset for _, offset in backlog.selected())
    assert held(log, selected) == held(log, list(range(len(log))))
    # At most one version of each account, except those before a deletion: a reader sees no older one.
    written = [log[offset] for offset in selected]
    assert len([revision for _, revision in written if revision is not None]) == len(held(log, selected))


def test_unreadable_records_are_selected_so_that_they_are_counted() -> None:
    backlog = Backlog()
    backlog.read(2, 7, b"a", b"rubbish")
    backlog.read(2, 8, None, b'{"revision":1}')
    backlog.read(2, 9, b"a", b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert backlog.selected() == {(2, 7), (2, 8), (2, 9)}
