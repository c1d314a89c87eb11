"""Events that are read as columns are those that Python decodes, field by field, whatever the bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import event_columns
from schemas.codecs import decode, times_ms
from schemas.event_columns import EventColumns, read_events
from schemas.native.library import Spans, hash_texts, load
from schemas.sources import BUILT_IN, Source, source_of_fields
from stream.accounts.index import AccountIndex
from stream.columns.hash_index import HashCache, hash_ids
from stream.ingest.batch import _ids
from stream.plan.column_fields import ColumnFields
from stream.plan.fields import Fields, Vocabulary
from tests.strategies.effort import examples
from tests.strategies.events import PADDINGS, spoilt_values
from tests.strategies.policies import encoded, events
from tests.strategies.policies import times_ms as moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import SearchStrategy

    from schemas.codecs import Decoded

OF_A_POLICY = source_of_fields(
    "visits", "visits", [("where from", "text"), ("pages", "number"), ("paid", "flag"), ("länge", "number")], ["pages"]
)
READ = [BUILT_IN[name] for name in ("product-usage", "support-tickets", "billing", "engagement", "signals")]
NUMBERS = tuple(
    b"0 -0 0.0 -0.0 1 01 1.5 1. .5 1e3 1E+2 1e999 -12.25 +1 null 0.1 123456789012345 1234567890123456 9007199254740993"
    b' 1e12 00.5 1000000000000 1000000000000.5 999999999999.999 -1 NaN Infinity true "1" 0.1.2 0.12345678901234567890'
    b" 3.14159265358979 0.000000000000001 8.41470984807896 0.30000000000000004 0.9749500922235117 0.44858232771904971 -"
    b" 1x 1-1 0x10 1_000 6.02e+ 100000000000000000000 -999999999999.5".split()
)
MOMENTS = (
    b"2024-02-29T12:00:00Z 2023-02-29T12:00:00Z 2024-02-29T12:00:00.123456+01:30 1900-03-01T00:00:00Z"
    b" 2024-02-29T12:00:00.1234567Z 2024-02-29T23:59:60Z 2000-12-31T23:59:59.9Z 2024-02-29t12:00:00z 2024-02-29"
    b" 2024-02-29T12:00:00 0001-01-01T00:00:00Z 1970-01-01T00:00:00-23:59 2024-02-29T12:00:00-00:00"
    b" 2100-02-29T00:00:00Z 2024-00-10T00:00:00Z"
    b" 2024-02-29T12:00:00+0100 2024-02-29T24:00:00Z 2024-13-01T00:00:00Z 2024-02-29T12:00:00.Z 9999-12-31T23:59:59Z"
    b" 2024-02-29T12:00:00.0009995-11:59 2024-02-29T23:59:59.9999999Z 2024-02-29T12:00:00+24:00 2024-02-30T12:00:00Z"
    b" 2024-02-29T12:00:00+23:60 2024-2-29T12:00:00Z 2024-02-29T12:60:00Z 2024-02-29T12:00:00.99949Z"
    b" 2024-02-29T12:00:00+01:00Z 02024-02-29T12:00:00Z"
).split()
TIMES = (
    *b"1700000000000 9007199254740992 9007199254740993 -1700000000000 1700000000000.0 17e11 null 0 -0".split(),
    *(b'"%s"' % moment for moment in (*MOMENTS, b"2024-02-29 12:00:00Z")),
)
TEXTS = (
    *rb'"" "a" "acme" "open" "opened" "low" "\u0061" "a\nb" "a\"b" "\ud83d" "\ud83d\ude00" null'.split(),
    *b"null nul 1 true false tru".split(),
    *(
        b'" "',
        b'"a\nb"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\x7f"',
        b'"a',
        b"'a'",
        b"",
        b'"open\x00"',
        b'"a\tb"',
        b'"\x1f"',
    ),
    *('"dörfler"'.encode(), '"\u3000x\u00a0"'.encode(), b'"' + b"x" * 999 + b'"'),
)
NESTED = (*b'{} [] {"a":1} [1,{"b":[null,true]}] [1,] {"a"} {1:2} [1e5]'.split(), b"[ ]", b"[" * 40 + b"]" * 40)
SPACES = st.sampled_from([*[b""] * 16, b" ", b"\n", b"\t \r", b"\x0b"])


GOOD = {"id": b'"e1"', "account_id": b'"acme"', "time": b"1700000000000", "pages": b"3", "kind": b'"renewed"'}
GOOD |= {"ticket_id": b'"t"', "status": b'"opened"', "name": b'"seats"', "value": b"2.5"}


@st.composite
def written(draw: st.DrawFn, source: Source) -> bytes:
    """The fields of an event in any order, of which some have unusual values of their type, or of any type."""
    names = source.event_type.__struct_encode_fields__
    pairs = [(name, value) for name, value in GOOD.items() if name in names]
    if not draw(st.integers(0, 9)):
        pairs.pop(draw(st.integers(0, len(pairs) - 1)))
    unusual = dict.fromkeys(names, TEXTS) | dict.fromkeys(source.numbers, NUMBERS) | {"time": TIMES}
    for name in draw(st.lists(st.sampled_from([*names, *source.numbers, *source.numbers, "time"]), max_size=2)):
        values = unusual[name] if draw(st.integers(0, 9)) else NUMBERS + TIMES + TEXTS + NESTED
        pairs.append((name, draw(st.sampled_from(values))))
    if not draw(st.integers(0, 3)):
        pairs.append((draw(st.sampled_from(["properties", "other"])), draw(st.sampled_from(NESTED + NUMBERS + TEXTS))))
    pairs = list(dict(pairs).items()) if draw(st.integers(0, 9)) else pairs
    pairs = draw(st.permutations(pairs))
    space, ascii_only = draw(SPACES), draw(st.booleans())
    inside = (space + b"," + space).join(
        [json.dumps(name, ensure_ascii=ascii_only).encode() + space + b":" + value for name, value in pairs]
    )
    return space + b"{" + space + inside + space + b"}" + draw(SPACES)


def values_of(source: Source) -> SearchStrategy[bytes | None]:
    if source is OF_A_POLICY:
        return st.one_of(written(source), written(source), st.none())
    valid = moments().flatmap(lambda time_ms: events(source.name, "acme", time_ms, "1").flatmap(encoded))
    padded = valid.flatmap(lambda value: st.sampled_from(PADDINGS).map(lambda form: _padded(value, form)))
    return st.one_of(written(source), valid, padded, spoilt_values(source.name), cut(valid))


def _padded(value: bytes, form: str) -> bytes:
    fields = json.loads(value)
    return json.dumps(fields | {"account_id": form.format("acme"), "id": form.format("1")}).encode()


@st.composite
def cut(draw: st.DrawFn, valid: SearchStrategy[bytes]) -> bytes:
    """A record of which some bytes are missing or others."""
    value = bytearray(draw(valid))
    begin = draw(st.integers(0, len(value) - 1))
    value[begin : begin + draw(st.integers(0, 2))] = draw(
        st.sampled_from([b"", b'"', b"\\", b"}", b"\x00", b"9", b"\xc3"])
    )
    return bytes(value)


def both_ways(source: Source, values: Sequence[bytes | None]) -> tuple[Decoded, Decoded]:
    before, event_columns.FEW = event_columns.FEW, 0
    try:
        return decode(source, values), read_events(source, values)
    finally:
        event_columns.FEW = before


@pytest.mark.parametrize("source", [*READ, OF_A_POLICY], ids=lambda source: source.name)
@settings(max_examples=examples(150))
@given(data=st.data())
def test_columns_have_what_python_decodes(source: Source, data: st.DataObject) -> None:
    good = (
        b'{"id":"1","account_id":"a","time":1700000000000,"pages":1,"kind":"renewed","ticket_id":"t","status":"opened",'
    )
    good += b'"name":"n","value":1}'
    values = [good] * data.draw(st.integers(0, 9)) + data.draw(st.lists(values_of(source), max_size=8))
    values = data.draw(st.permutations(values))
    wanted, read = both_ways(source, values)
    assert (read.indexes is None) == (wanted.indexes is None) or len(read.events) == len(values)
    assert _indexes(read, values) == _indexes(wanted, values)
    assert sorted(read.rejects) == sorted(wanted.rejects)
    assert list(read.events) == list(wanted.events)
    if isinstance(read.events, EventColumns):
        compare(source, read.events, list(wanted.events), data)


@pytest.mark.parametrize("source", [*READ, OF_A_POLICY], ids=lambda source: source.name)
def test_every_unusual_value_of_every_field(source: Source) -> None:
    names = source.event_type.__struct_encode_fields__
    good = _object(GOOD)
    for name in (*names, "properties", "other"):
        for value in (*NUMBERS, *TIMES, *TEXTS, *NESTED):
            wanted, read = both_ways(source, [good, _object(GOOD | {name: value}), good])
            assert isinstance(read.events, EventColumns)
            assert _indexes(read, [b""] * 3) == _indexes(wanted, [b""] * 3), (name, value)
            assert read.rejects == wanted.rejects, (name, value)
            same(source, read.events, list(wanted.events))


def _object(fields: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in fields.items()) + b"}"


def _indexes(decoded: Decoded, values: Sequence[bytes | None]) -> list[int]:
    return list(range(len(values))) if decoded.indexes is None else decoded.indexes.tolist()


def compare(source: Source, columns: EventColumns, wanted: list[Any], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.booleans(), min_size=len(wanted), max_size=len(wanted)))
    indexes = np.flatnonzero(np.array(chosen, dtype=bool))
    begin = data.draw(st.integers(0, len(wanted)))
    same(source, columns, wanted)
    same(source, columns.take(indexes), [wanted[index] for index in indexes.tolist()])
    same(source, columns[begin:], wanted[begin:])
    same(source, columns[:begin], wanted[:begin])


def same(source: Source, columns: EventColumns, wanted: list[Any]) -> None:
    assert columns.times.tolist() == times_ms(wanted).tolist()
    assert _ids(columns, None).tolist() == hash_ids([event.id for event in wanted]).tolist()
    by_columns, by_events = AccountIndex(lambda name: name != "birch"), AccountIndex(lambda name: name != "birch")
    for _ in range(2):  # the second time the rows are known
        assert by_columns.rows_of(columns).tolist() == by_events.rows_of(wanted).tolist()
    assert by_columns.names == by_events.names
    vocabularies = {field: Vocabulary() for field in source.texts}
    for field, vocabulary in vocabularies.items():
        vocabulary.update_with(["open", "acme", "low", "", "true", *source.closed.get(field, ())])
    plain = Fields(wanted, vocabularies, HashCache(), source)
    quick = ColumnFields(columns, Fields([], vocabularies, HashCache(), source))
    for field in source.texts:
        assert quick.texts(field) == plain.texts(field)
        assert quick.codes(field).tolist() == plain.codes(field).tolist()
        assert quick.hashes(field).tolist() == plain.hashes(field).tolist()
        assert (
            quick.passes((field, "prefix", ("a", "op"))).tolist()
            == plain.passes((field, "prefix", ("a", "op"))).tolist()
        )
    for field in source.numbers:
        np.testing.assert_array_equal(quick.numbers(field), plain.numbers(field))
        assert np.signbit(quick.numbers(field)).tolist() == np.signbit(plain.numbers(field)).tolist()
    for field in (*source.texts, *source.numbers):
        assert quick.passes((field, "exists", True)).tolist() == plain.passes((field, "exists", True)).tolist()


@settings(max_examples=examples(300))
@given(
    st.lists(st.text(max_size=300) | st.text(st.sampled_from(" \t\x1c\x85\u00a0\u3000\u180ea"), max_size=4), max_size=9)
)
@example(["a" * length for length in range(260)])
@example(["b" * length for length in (511, 512, 1023, 1024, 1025, 2048, 4097)])
def test_hashes_are_those_of_python(texts: list[str]) -> None:
    library = load()
    assert library is not None, "make setup builds the library where cargo is installed"
    hashes = hash_texts(library, Spans.of([text.encode() for text in texts]))
    assert hashes.tolist() == HashCache().hashes(list(texts)).tolist()


def test_the_sources_that_are_read_as_columns() -> None:
    """Surveys have a check in Python, controls and profiles have nested values."""
    read = {name for name in BUILT_IN.names if event_columns.fields_of(BUILT_IN[name].event_type) is not None}
    assert read == {source.name for source in READ}


def test_a_row_is_forgotten_with_its_account() -> None:
    values = [b'{"id":"1","account_id":"%s","time":1700000000000,"kind":"x"}' % name for name in (b"a", b" b ", b"c")]
    _, read = both_ways(BUILT_IN["engagement"], values)
    assert isinstance(read.events, EventColumns)
    index = AccountIndex(lambda _: True)
    assert index.rows_of(read.events).tolist() == [0, 1, 2]
    index.release(1)
    index.release(0)
    assert index.rows_of(read.events).tolist() == [0, 1, 2]
    index.release(2)
    assert index.rows(["d"]).tolist() == [2]
    assert index.rows_of(read.events).tolist() == [0, 1, 3]
