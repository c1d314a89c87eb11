"""Decoding whole batches gives what decoding record by record gives, whatever the bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codecs
from schemas.codecs import REASONS, decode, times_ms
from schemas.sources import BUILT_IN
from stream.mapping.recognition import recognise
from tests.oracle.events import EARLIEST_MS, RejectedError, read_event
from tests.oracle.recognised import read_record
from tests.strategies.effort import examples
from tests.strategies.events import spoilt_values
from tests.strategies.policies import LATEST_MS, NOW_MS, SOURCES, encoded, events
from tests.strategies.policies import times_ms as moments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOOD = b'{"id": "1", "account_id": "a", "time": 1700000000000, "kind": "webinar"}'
PIECES = st.sampled_from(
    (GOOD, b"{", b"}", b"}\n{", b"\n", b'"', b'{"id": ', GOOD[:20], GOOD[20:], b"[", b"]", b" ", b"\xff")
)
WILD = st.one_of(st.none(), st.just(GOOD), st.binary(max_size=40), st.lists(PIECES, max_size=5).map(b"".join))


@pytest.fixture(scope="module", autouse=True, params=["few bytes", "many bytes"])
def _lines_are_checked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Lines of few bytes and of many are checked in two ways: each test goes through both."""
    before = codecs._FEW_BYTES
    if request.param == "many bytes":
        codecs._FEW_BYTES = -1
    yield
    codecs._FEW_BYTES = before


@settings(max_examples=examples(300))
@given(st.lists(WILD, max_size=6))
def test_a_batch_decodes_as_its_records_do_one_by_one(values: list[bytes | None]) -> None:
    together = decode(BUILT_IN["engagement"], values)
    decoded_indexes = list(range(len(values))) if together.indexes is None else together.indexes.tolist()
    assert len(decoded_indexes) == len(together.events)
    outcome_of = dict(zip(decoded_indexes, together.events, strict=True)) | {
        reject.position: reject[1:] for reject in together.rejects
    }
    assert sorted(outcome_of) == list(range(len(values)))
    for index, value in enumerate(values):
        alone = decode(BUILT_IN["engagement"], [value])
        assert outcome_of[index] == (alone.events[0] if alone.events else alone.rejects[0][1:])
    assert all(reject.reason in REASONS for reject in together.rejects)


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=examples(60))
@given(data=st.data())
def test_the_codec_rejects_what_the_oracle_rejects(source: str, data: st.DataObject) -> None:
    valid = moments().flatmap(lambda time_ms: events(source, "acme", time_ms, "1").flatmap(encoded))
    values = data.draw(st.lists(st.one_of(valid, valid, spoilt_values(source)), max_size=5))
    decoded = decode(BUILT_IN[source], values)
    decoded_indexes = range(len(values)) if decoded.indexes is None else decoded.indexes.tolist()
    times = dict(zip(decoded_indexes, times_ms(decoded.events).tolist(), strict=True))
    for index, value in enumerate(values):
        wanted, reason = oracle_says(source, value)
        # What lies in the future, or before 2000, is for the engine to refuse: it has the clock.
        if reason in {"implausible_time", "in_the_future"}:
            assert not EARLIEST_MS <= times[index] <= LATEST_MS
        elif reason == "id or account_id is blank" and source != "accounts":
            assert index in times, "the engine refuses it when it trims the id"
        else:
            assert times.get(index) == wanted


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=examples(60))
@given(data=st.data())
def test_what_is_recognised_is_what_the_oracle_recognises(source: str, data: st.DataObject) -> None:
    valid = moments().flatmap(lambda time_ms: events(source, "acme", time_ms, "1").flatmap(encoded))
    value = data.draw(st.one_of(valid, spoilt_values(source).filter(bool)).flatmap(otherwise_written))
    decoded = recognise(BUILT_IN[source], [value], decode(BUILT_IN[source], [value])).decoded
    wanted, reason = oracle_says(source, value, read_record)
    if reason in {"implausible_time", "in_the_future"}:
        assert all(not EARLIEST_MS <= time_ms <= LATEST_MS for time_ms in times_ms(decoded.events))
    elif reason != "id or account_id is blank" or source == "accounts":
        assert times_ms(decoded.events).tolist() == ([] if wanted is None else [wanted])


def otherwise_written(value: bytes | None) -> st.SearchStrategy[bytes]:
    """The value in another form, or with another notation of its fields."""
    assert value is not None
    forms = [value, b"\0\0\0\0\x07" + value, b"\xef\xbb\xbf" + value]
    try:
        event = json.loads(value)
        forms.append(json.dumps(json.dumps(event)).encode())
    except (ValueError, RecursionError):
        return st.sampled_from(forms)
    cloud = {"specversion": "1.0", "type": "t", "source": "/", "id": "ce", "subject": "acme", "data": event}
    forms += [json.dumps(wrapped).encode() for wrapped in ({"schema": {}, "payload": event}, cloud)]
    if isinstance(event, dict):
        changes = st.fixed_dictionaries(
            {},
            optional={
                "id": st.integers() | st.floats(),
                "account_id": st.integers(0, 99),
                "time": st.sampled_from([1_700_000_000_000.0, "2023-11-14 22:13:20+00", "2023-11-14T22:13:20"]),
                "status": st.sampled_from(["Opened", " SOLVED "]),
                "kind": st.sampled_from(["NPS", 5]),
            },
        )
        return st.sampled_from(forms) | changes.map(lambda changed: json.dumps({**event, **changed}).encode())
    return st.sampled_from(forms)


def oracle_says(
    source: str, value: bytes | None, read: Callable[[str, bytes | None, int], Any] = read_event
) -> tuple[int | None, str | None]:
    """The time of a valid event, or the reason why the oracle rejects the value."""
    try:
        return read(source, value, NOW_MS).time_ms, None
    except RejectedError as error:
        return None, str(error)


@pytest.mark.parametrize(
    "values",
    [
        (b'{"id": "1", "account_id": "a",', b'"time": 1700000000000, "kind": "x"}'),
        (GOOD + b"\n" + GOOD, b""),
        (GOOD + b"\n" + GOOD[:10], GOOD[10:]),
        (b'{"id": "1", "account_id": "a}', b'{", "time": 1700000000000, "kind": "x"}'),
        (b'{"x": [{}', b'{}], "id": "1", "account_id": "a", "time": 1700000000000, "kind": "x"}'),
    ],
)
def test_records_that_are_valid_only_when_joined_are_rejected(values: tuple[bytes, ...]) -> None:
    decoded = decode(BUILT_IN["engagement"], [*values, GOOD])
    assert len(decoded.rejects) == 2
    assert len(decoded.events) == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (GOOD[:-1] + b', "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "too_deep"),
        (GOOD.replace(b"1700000000000", b"NaN"), "malformed_json"),
        (GOOD.replace(b"webinar", b"\xff"), "bad_utf8"),
        (GOOD.replace(b"webinar", b"a\nb"), "malformed_json"),
        (GOOD.replace(b"1700000000000", b'"2024-11-13T10:00:00"'), "invalid_field"),
        (GOOD.replace(b"webinar", b""), "invalid_field"),
        (GOOD.replace(b"1700000000000", b"17000000000000000000000"), "invalid_field"),
        (b"", "malformed_json"),
        (GOOD + b"x", "malformed_json"),
    ],
)
def test_a_reject_has_a_reason_and_its_neighbours_are_decoded(value: bytes | None, reason: str) -> None:
    decoded = decode(BUILT_IN["engagement"], [GOOD, value, GOOD])
    assert [(reject.position, reject.reason) for reject in decoded.rejects] == [(1, reason)]
    assert decoded.indexes is not None
    assert decoded.indexes.tolist() == [0, 2]


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e13", "-1", "NaN", '"1"', "true"])
def test_numbers_outside_their_range_are_rejected(number: str) -> None:
    event = json.dumps({"id": "1", "account_id": "a", "time": 1_700_000_000_000, "count": "@"})
    (reject,) = decode(BUILT_IN["product-usage"], [event.replace('"@"', number).encode()]).rejects
    assert reject.reason in {"invalid_field", "malformed_json"}


def test_a_value_over_several_lines_is_one_event() -> None:
    pretty = json.dumps(json.loads(GOOD), indent=2).encode()
    decoded = decode(BUILT_IN["engagement"], [pretty, GOOD, pretty])
    assert len(decoded.events) == 3
    assert not decoded.rejects
