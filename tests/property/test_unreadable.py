"""A changelog with one damaged record is restored, or refused with the one error that names this record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.engine.engine import Engine
from stream.recovery.changelog import keep_newer
from stream.recovery.namespaces import LIVE_KEY, PUBLISHED_KEYS, Opened, open_namespaces
from stream.recovery.record_form import UnreadableRecordError, account_of, tag_of
from stream.recovery.unreadable import find_unreadable
from stream.recovery.writer import WRITER_KEY, Writer, encode_writer
from tests.golden.changelogs.partition import DEDUP_IDS, policy, read_changelog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stream.plan.plan import Plan

NEWEST: dict[bytes, bytes] = {}
for _key, _value in read_changelog():
    keep_newer(NEWEST, _key, _value)
NEWEST[WRITER_KEY] = encode_writer(Writer(worker="one on host", version="0.1.0", policy="p", settings={"dedup": True}))
for _name in PUBLISHED_KEYS.values():
    NEWEST.setdefault(_name, b"12")
KINDS = {tag: sorted(key for key in NEWEST if tag_of(key) == tag) for tag in {tag_of(key) for key in NEWEST}}
LIVE, CANDIDATE = policy("live"), policy("candidate")


def _engine(plan: Plan) -> Engine:
    return Engine(plan, dedup_ids=DEDUP_IDS)


def opened(records: Mapping[bytes, bytes]) -> Opened:
    return open_namespaces(records, LIVE, CANDIDATE, _engine)


def test_the_undamaged_changelog_has_every_kind_of_record_and_is_restored() -> None:
    assert {b"l", b"r", b"p", b"s", b"i", b"t", b"w", *PUBLISHED_KEYS.values()} <= KINDS.keys()
    assert len(opened(NEWEST).pair.live.accounts) > 0


@st.composite
def damages(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A key and what became of its value: cut, longer, other bytes, another record's, none at all."""
    key = draw(st.sampled_from(KINDS[draw(st.sampled_from(sorted(KINDS)))]))
    value = NEWEST[key]
    changed = bytearray(value)
    for _ in range(draw(st.integers(1, 4))):
        changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    jsons = [b"{}", b"null", b"[]", b'{"position": {"product-usage": "1"}}', b"17", b'""']
    return key, draw(
        st.sampled_from([bytes(changed), b"", *jsons])
        | st.integers(0, len(value)).map(lambda size: value[:size])
        | st.binary(min_size=1, max_size=40).map(lambda more: value + more)
        | st.sampled_from(sorted(NEWEST)).map(NEWEST.__getitem__)
        | st.binary(max_size=200)
    )


def refused(records: Mapping[bytes, bytes]) -> UnreadableRecordError | None:
    """What a worker says of a restore that fails; None where it does not fail."""
    try:
        opened(records)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it must be named
        return find_unreadable(records, opened, error)
    return None


@given(damages())
def test_a_damaged_record_is_restored_or_named(damage: tuple[bytes, bytes]) -> None:
    key, value = damage
    error = refused({**NEWEST, key: value})
    assert error is None or (error.key, error.account) == (key, account_of(key))


@given(damages())
def test_a_damaged_record_never_gives_way_to_the_one_before_it_and_always_to_a_good_one_after_it(
    damage: tuple[bytes, bytes],
) -> None:
    key, value = damage
    newest = dict(NEWEST)
    keep_newer(newest, key, value)
    assert newest[key] == value or refused({**NEWEST, key: value}) is None, "it is whole, and the older one"
    keep_newer(newest, key, NEWEST[key])
    assert newest[key] == NEWEST[key] or refused(newest) is None
    keep_newer(newest, key, None)
    assert key not in newest


@given(st.binary(max_size=30), st.binary(max_size=60))
def test_a_record_with_any_key_is_restored_or_named(key: bytes, value: bytes) -> None:
    error = refused({**NEWEST, key: value})
    if error is None:
        assert tag_of(key) in KINDS or key == LIVE_KEY
    else:
        assert error.key == key


@pytest.mark.parametrize("tag", sorted(KINDS))
def test_an_empty_record_of_each_kind_is_refused(tag: bytes) -> None:
    key = KINDS[tag][0]
    error = refused({**NEWEST, key: b""})
    assert error is not None
    assert error.key == key
