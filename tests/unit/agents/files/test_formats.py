"""Files in every format that people have: what a record is, what it is called, and where reading ends."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cramjam
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from agents.files import formats
from agents.files.formats import Block, FormatError, Record, blocks_of, expanded, records_of, stem_of

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = [{"id": "1", "amount": 2.5}, {"id": "2", "amount": None}]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "records"),
    [
        ("a.jsonl", b'{"a":1}\n\n{"a":2}', [(1, b'{"a":1}'), (3, b'{"a":2}')]),
        ("a.jsonl", b'\xef\xbb\xbf{"a":1}\r\n{"a":2}\r\n', [(1, b'{"a":1}'), (2, b'{"a":2}')]),
        ("a.ndjson", b'{"a":1}', [(1, b'{"a":1}')]),
        ("a.json", b' [ {"a":1} ,\n {"a":2}]', [(1, b'{"a":1}'), (2, b'{"a":2}')]),
        ("a.jsonl", b'[{"a":1}]', [(1, b'{"a":1}')]),
        ("a.json", b'{\n "tickets": [{"id": 1}]\n}\n', [(1, b'{\n "tickets": [{"id": 1}]\n}')]),
        ("a.json", b'{"a":1}\n{"a":2}\n', [(1, b'{"a":1}'), (2, b'{"a":2}')]),
        ("a.csv", b"id,amount\n1,2.5\n2,\n", [(2, {"id": "1", "amount": "2.5"}), (3, {"id": "2"})]),
        ("a.csv", b"id;amount\r\n1;2,5\r\n", [(2, {"id": "1", "amount": "2,5"})]),
        ("a.tsv", b"id\tamount\n1\t2.5\n", [(2, {"id": "1", "amount": "2.5"})]),
        ("a.csv", b'\xef\xbb\xbfid,name\n1,"a, ""b""\nc"\n', [(3, {"id": "1", "name": 'a, "b"\nc'})]),
        ("a.csv", b"id,amount\n\n1,2\n", [(3, {"id": "1", "amount": "2"})]),
        ("export", b"id,amount\n1,2\n", [(2, {"id": "1", "amount": "2"})]),
        ("a.jsonl", b"", []),
        ("a.json", b"", []),
        ("a.csv", b"", []),
        ("a.csv", b"id,amount\n", []),
    ],
)
def test_records_are_named_by_line_element_or_row(
    tmp_path: Path, name: str, content: bytes, records: list[tuple[int, Any]]
) -> None:
    assert list(records_of(written(tmp_path / name, content))) == [Record(*record) for record in records]


@pytest.mark.parametrize("compress", [gzip.compress, lambda content: bytes(cramjam.zstd.compress(content))])
@pytest.mark.parametrize("ending", [".gz", ".zst", ""])
def test_compression_is_recognised_whatever_the_file_is_called(
    tmp_path: Path, compress: Callable[[bytes], bytes], ending: str
) -> None:
    path = written(tmp_path / f"billing.csv{ending}", compress(b"id,amount\n1,2\n"))
    assert list(records_of(path)) == [Record(2, {"id": "1", "amount": "2"})]
    assert stem_of(path) == "billing"


def test_parquet_and_arrow_files_have_rows_with_types(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    parquet.write_table(table, tmp_path / "a.parquet")
    feather.write_feather(table, tmp_path / "a.arrow")
    feather.write_feather(table, tmp_path / "a.feather", compression="uncompressed")
    for name in ("a.parquet", "a.arrow", "a.feather"):
        assert list(records_of(tmp_path / name)) == [Record(1, {"id": "1", "amount": 2.5}), Record(2, {"id": "2"})]


def test_times_in_nanoseconds_of_a_table_are_cut_to_what_a_time_can_have(tmp_path: Path) -> None:
    time_ns = 1_774_605_600_123_456_789
    types = (pa.timestamp("ns"), pa.timestamp("ns", "Europe/Berlin"), pa.duration("ns"))
    columns = {str(kind): pa.array([time_ns], pa.int64()).cast(kind) for kind in types}
    columns["time"] = pa.array([time_ns % 86_400_000_000_000], pa.time64("ns"))
    nested = pa.array([[{"at": time_ns}]], pa.list_(pa.struct([("at", pa.int64())])))
    columns["nested"] = nested.cast(pa.list_(pa.struct([("at", types[0])])))
    feather.write_feather(pa.table(columns), tmp_path / "a.arrow")
    ((_, row),) = records_of(tmp_path / "a.arrow")
    assert isinstance(row, dict)
    moment = datetime(2026, 3, 27, 10, 0, 0, 123456, UTC)
    assert (row["timestamp[ns]"].replace(tzinfo=UTC), row["timestamp[ns, tz=Europe/Berlin]"]) == (moment, moment)
    assert row["nested"][0]["at"].replace(tzinfo=UTC) == moment


def test_standard_input_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"a":1}\n')))
    assert list(records_of(Path("-"))) == [Record(1, b'{"a":1}')]


def test_folders_and_patterns_are_the_files_in_them(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("z.csv", "b/a.jsonl.gz", "notes.txt", "README.md"):
        (tmp_path / name).touch()
    assert expanded([tmp_path]) == [tmp_path / "b" / "a.jsonl.gz", tmp_path / "z.csv"]
    assert expanded([tmp_path / "*.csv"]) == [tmp_path / "z.csv"]
    assert expanded([tmp_path / "absent*"]) == [tmp_path / "absent*"]
    assert expanded([Path("-")]) == [Path("-")]


@pytest.mark.parametrize(
    ("name", "content", "number", "message"),
    [
        ("a.json", b'[{"a":1},', 1, "the file begins as a JSON array and is none: "),
        ("a.csv", b"id,amount\n1,2\n1,2,3\n", 3, "the row has 3 values, and the header has 2 columns"),
        ("a.csv", b"id,id\n1,2\n", 1, "the first line must be the names of the columns, each once, not 'id,id'"),
        ("a.csv", b"id,\n1,2\n", 1, "the first line must be the names of the columns, each once, not 'id,'"),
        ("a.csv", b'id,a\n1,"x\n', 2, "the file is no CSV from here on: unexpected end of data"),
        ("a.csv", b"id,name\n1,M\xfcller\n", 2, "the file is not UTF-8: convert it, for example with iconv "),
        (
            "a.jsonl",
            gzip.compress(b'{"a":1}\n' * 99, mtime=0)[:30],
            1,
            "the file is compressed, and damaged or cut off: ",
        ),
        ("a.parquet", b"PAR1 nothing", 1, "the file is no Parquet file, or damaged: "),
        ("a.arrow", b"ARROW1 nothing", 1, "the file is no Arrow file, or damaged: "),
    ],
)
def test_a_damaged_file_says_where_and_why(
    tmp_path: Path, name: str, content: bytes, number: int, message: str
) -> None:
    with pytest.raises(FormatError) as caught:
        list(records_of(written(tmp_path / name, content)))
    assert caught.value.number == number
    assert str(caught.value).startswith(message)


def test_a_file_that_does_not_exist_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        list(records_of(tmp_path / "absent.csv"))
    assert caught.value.filename == str(tmp_path / "absent.csv")


def until_damage(path: Path) -> tuple[list[Record], FormatError]:
    """The records of a damaged file before the error, and the error."""
    read: list[Record] = []
    try:
        for record in records_of(path):
            read.append(record)  # noqa: PERF402 -- a list would be lost with the error
    except FormatError as error:
        return read, error
    raise AssertionError("the file is not damaged")


def test_what_comes_before_the_damage_is_read(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b'{"a":%d}\n' % number for number in range(50_000)), mtime=0)
    read, error = until_damage(written(tmp_path / "a.jsonl.gz", whole[: len(whole) // 2]))
    assert len(read) > 1000
    assert read == [Record(number + 1, b'{"a":%d}' % number) for number in range(len(read))]
    assert (error.number, str(error)[:43]) == (len(read) + 1, "the file is compressed, and damaged or cut ")
    read, error = until_damage(written(tmp_path / "a.csv", b"id,name\n1,M\xc3\xbcller\n2,M\xfcller\n"))
    assert (read, error.number) == ([Record(2, {"id": "1", "name": "Müller"})], 3)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_as_every_system_ends_them(tmp_path: Path, end: bytes) -> None:
    lines = [b'{"a":1}', b"", b'{"a":2}']
    expected = [Record(1, lines[0]), Record(3, lines[2])]
    assert list(records_of(written(tmp_path / "a.jsonl", end.join(lines)))) == expected
    rows = end.join([b"id,amount", b"1,2", b"3,4"])
    numbers = [record.number for record in records_of(written(tmp_path / "a.csv", rows))]
    assert numbers == [2, 3]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("damaged", [False, True])
def test_blocks_have_every_line_before_the_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, *, damaged: bool
) -> None:
    monkeypatch.setattr(formats, "BLOCK_LINES", size)
    content = b'{"a":1}\n\n{"a":2}\r{"a":3}\r\n  \n{"a":4}\n'
    path = written(tmp_path / "a.jsonl.gz", gzip.compress(content)[: -4 if damaged else None])
    expected = [(number, b'{"a":%d}' % value) for number, value in ((1, 1), (3, 2), (4, 3), (6, 4))]
    read: list[tuple[int, bytes]] = []

    def read_all() -> None:
        for block in blocks_of(path):
            assert isinstance(block, Block)
            read.extend(zip(block.numbers, block.values, strict=True))

    if not damaged:
        read_all()
        assert read == expected
        return
    with pytest.raises(FormatError, match="damaged or cut off") as failure:
        read_all()
    assert read == expected[: len(read)]
    assert failure.value.number == 1 + max((number for number, _ in read), default=0)
