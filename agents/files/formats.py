"""Read files of records, whatever their format: JSON Lines, JSON, CSV, Parquet, Arrow, each also as .gz or .zst.

Owns which file has which format, and what each record is called in messages: the number of its line, element or row.
JSON Lines and CSV are read line by line, so that a file can be larger than the memory, unless they come from standard
input or are compressed with Zstandard; everything else is read at once. Must not know events. Called by
`agents.files.inputs`.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import has_magic
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import cramjam
import msgspec

from agents.process.plugins import FORMATS, PluginError, plugin, plugin_names

STDIN = Path("-")
BLOCK_LINES = 5_000
"""Lines of a block."""
_COMPRESSIONS = (".gz", ".zst")
_DELIMITERS = ",;\t|"
_ADDED = "plugin:"
_JSON_LINES, _JSON, _CSV, _PARQUET, _ARROW = "JSON Lines", "JSON", "CSV", "Parquet", "Arrow"
_FORMATS = {
    ".jsonl": _JSON_LINES,
    ".ndjson": _JSON_LINES,
    ".json": _JSON,
    ".csv": _CSV,
    ".tsv": _CSV,
    ".parquet": _PARQUET,
    ".arrow": _ARROW,
    ".feather": _ARROW,
}
BUILT_IN_ENDINGS = tuple(_FORMATS)
FormatReader = Callable[[bytes], Iterable[Mapping[str, Any] | bytes]]
"""What an entry point of the group `account_vitals.formats` is: the content of a file (decompressed) to its records.

A record is a row as a dict, or JSON as bytes. A ValueError ends the reading at the record after the last one.
"""


class FormatError(ValueError):
    """A file, or what follows in it, that cannot be read; the message says what to do."""

    def __init__(self, number: int, message: str) -> None:
        """`number` is the line, element or row at which reading ended."""
        super().__init__(message)
        self.number = number


class Record(NamedTuple):
    """One record of a file: JSON as bytes, or a row as a dict; `number` is that of its line, element or row."""

    number: int
    value: bytes | dict[str, Any]


class Block(NamedTuple):
    """Consecutive records that are lines of JSON, and the number of each line."""

    numbers: Sequence[int]
    values: list[bytes]


class Rows(NamedTuple):
    """Records that are in memory. `label` names them in messages; `topic` is like the name of a file, or empty."""

    label: str
    topic: str
    records: Callable[[], Iterable[Record]]


Input = Path | Rows
"""What records are read from."""


def expanded(paths: Sequence[Path]) -> list[Path]:
    """Files that are named: folders are the files in them that can be read, patterns (`*`) those that fit, sorted.

    Each file is read once, however often it is named. A path that is neither stays as it is, so that opening it says
    that it does not exist.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if file.is_file() and _format_of(file) is not None)
        elif has_magic(str(path)) and not path.exists():
            files += sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))) or [path]
        else:
            files.append(path)
    return list({file.resolve(): file for file in reversed(files)}.values())[::-1]


def stem_of(path: Path) -> str:
    """The name of a file without the endings of its format and compression: the name of a topic, for many files."""
    name = path.name
    added = tuple(f".{ending}" for ending in plugin_names(FORMATS))
    for endings in (_COMPRESSIONS, (*BUILT_IN_ENDINGS, *added)):
        for ending in endings:
            if name.lower().endswith(ending):
                name = name[: -len(ending)]
                break
    return name


def records_of(path: Path) -> Iterator[Record]:
    """Every record of a file, in its order. Raises OSError with the file's name, FormatError where it is damaged."""
    for each in blocks_of(path):
        if isinstance(each, Block):
            yield from map(Record, each.numbers, each.values)
        else:
            yield each


def blocks_of(path: Path) -> Iterator[Block | Record]:
    """The records as `records_of` gives them; of JSON Lines many at once, since one by one takes several times as long.

    A file has blocks only, or single records only.
    """
    with _opened(path) as (stream, head):
        kind = _kind_of(path, head)
        if kind.startswith(_ADDED):
            yield from _added_records(_all_of(stream), kind.removeprefix(_ADDED))
        elif kind == _CSV:
            yield from _rows(_lines(stream))
        elif kind in {_PARQUET, _ARROW}:
            yield from _table_rows(_all_of(stream), kind)
        elif kind == _JSON_LINES and _is_json_line(head):
            yield from _json_blocks(stream)
        else:
            content = _all_of(stream)
            kind = _json_kind(content)
            if kind == _JSON_LINES:
                yield _block(content.splitlines(), 1)
            else:
                yield from _elements(content) if kind == _JSON else _rows_of(content)


def _kind_of(path: Path, head: bytes) -> str:
    """The format of a file by its name and by how it begins."""
    kind = _format_of(path) or _JSON_LINES
    if kind.startswith(_ADDED):
        return kind
    if head[:4] == b"PAR1":
        return _PARQUET
    if head[:6] == b"ARROW1":
        return _ARROW
    return _JSON_LINES if kind == _JSON and _is_json_line(head) else kind


def _rows_of(content: bytes) -> Iterator[Record]:
    return _rows(iter(content.splitlines(keepends=True)))


def _json_blocks(stream: IO[bytes]) -> Iterator[Block]:
    number = 1
    damage: Exception | None = None
    while damage is None:
        lines: list[bytes] = []
        try:
            lines.extend(islice(stream, BLOCK_LINES))
        except _DAMAGES as error:  # the lines before it were added
            damage = error
        if not lines and damage is None:
            return
        values = b"".join(lines).splitlines()  # a lone carriage return ends a line as well
        yield _block(values, number)
        number += len(values)
    raise _damaged(number, damage) from damage


def _block(values: list[bytes], first: int) -> Block:
    """Lines without their ends as a block without blank ones; `first` is the number of the first line."""
    numbers: Sequence[int] = range(first, first + len(values))
    if not all(map(bytes.strip, values)):
        numbers = [number for number, value in zip(numbers, values, strict=True) if value.strip()]
        values = list(filter(bytes.strip, values))
    return Block(numbers, values)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], bytes]]:
    """The content of a file (`-`: standard input), decompressed, without a byte order mark; and how it begins."""
    with io.BytesIO(sys.stdin.buffer.read()) if path == STDIN else path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        stream: IO[bytes] = file
        if magic == b"\x28\xb5\x2f\xfd":
            try:
                stream = io.BytesIO(bytes(cramjam.zstd.decompress(file.read())))
            except cramjam.DecompressionError as error:
                raise _damaged(1, error) from error
        elif magic[:2] == b"\x1f\x8b":
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=file))
        try:
            head = stream.read(_HEAD)
        except _DAMAGES as error:
            raise _damaged(1, error) from error
        mark = len(BOM_UTF8) if head.startswith(BOM_UTF8) else 0
        stream.seek(mark)
        yield stream, head[mark:]


def _damaged(number: int, error: Exception) -> FormatError:
    return FormatError(number, f"the file is compressed, and damaged or cut off: {error}")


def _all_of(stream: IO[bytes]) -> bytes:
    try:
        return stream.read()
    except _DAMAGES as error:
        raise _damaged(1, error) from error


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file with their ends, which are as `bytes.splitlines` knows them."""
    number = 0
    try:
        for line in stream:
            for each in line.splitlines(keepends=True):
                number += 1
                yield each
    except _DAMAGES as error:
        raise _damaged(number + 1, error) from error


def _format_of(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    ending = suffixes[-1] if suffixes else ""
    if ending not in _FORMATS and ending[1:] in plugin_names(FORMATS):
        return _ADDED + ending[1:]
    return _FORMATS.get(ending)


def _added_records(content: bytes, ending: str) -> Iterator[Record]:
    """The records of a file whose format another package reads."""
    number = 0
    try:
        read: FormatReader = plugin(FORMATS, ending)
        for number, value in enumerate(read(content), 1):
            row = value if isinstance(value, bytes) else {key: cell for key, cell in value.items() if cell is not None}
            yield Record(number, row)
    except (PluginError, ValueError) as error:
        raise FormatError(number + 1, f"reading {ending} ends here: {error}") from error


_HEAD = 64 * 1024
"""Bytes of a file that show its format."""
_DAMAGES = (gzip.BadGzipFile, EOFError, zlib.error)
_COLUMNS = re.compile(rb'[\w" .-]+[,;\t|]')


def _json_kind(content: bytes) -> str:
    """JSON Lines; one JSON document if it is an array, or its first line is not all of it; CSV if it is no JSON."""
    start = content.lstrip()
    first = start.partition(b"\n")[0].rstrip()
    if start[:1] == b"[":
        return _JSON
    if start[:1] == b"{":
        return _JSON if first[-1:] != b"}" and _is_json(start) else _JSON_LINES
    return _CSV if _COLUMNS.match(first) else _JSON_LINES


def _is_json_line(head: bytes) -> bool:
    """Whether the beginning of a file shows that it is JSON Lines: the first line is an object, and there are more."""
    first, newline, _ = head.lstrip().partition(b"\n")
    return first[:1] == b"{" and bool(newline) and first.rstrip()[-1:] == b"}"


def _is_json(content: bytes) -> bool:
    try:
        msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True


def _elements(content: bytes) -> Iterator[Record]:
    """The elements of a JSON array; or the one document that the file is."""
    if content.lstrip()[:1] != b"[":
        yield Record(1, content.strip())
        return
    try:
        elements = msgspec.json.decode(content, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(1, f"the file begins as a JSON array and is none: {error}") from error
    for number, element in enumerate(elements, 1):
        yield Record(number, bytes(element))


def _rows(lines: Iterator[bytes]) -> Iterator[Record]:
    """The rows of a CSV file with a header; an empty cell is no value."""
    texts = _decoded(lines)
    header = next(texts, "")
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(chain([header], texts), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        if len(set(names)) != len(names) or not all(names):
            raise FormatError(
                1, f"the first line must be the names of the columns, each once, not {header.strip()[:80]!r}"
            )
        for row in reader:
            if not any(row):
                continue
            if len(row) != len(names):
                raise FormatError(
                    reader.line_num, f"the row has {len(row)} values, and the header has {len(names)} columns"
                )
            yield Record(reader.line_num, {name: cell for name, cell in zip(names, row, strict=True) if cell.strip()})
    except csv.Error as error:
        raise FormatError(reader.line_num, f"the file is no CSV from here on: {error}") from error


def _decoded(lines: Iterator[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise FormatError(
                number, "the file is not UTF-8: convert it, for example with iconv -f WINDOWS-1252 -t UTF-8"
            ) from error


def _table_rows(content: bytes, kind: str) -> Iterator[Record]:
    try:
        import pyarrow as pa  # noqa: PLC0415 -- an optional and large package
        from pyarrow import feather, parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise FormatError(1, f"reading {kind} needs pyarrow: pip install 'account-vitals[files]'") from error
    try:
        source = pa.BufferReader(content)
        rows = table_rows(parquet.read_table(source) if kind == _PARQUET else feather.read_table(source))
    except (pa.ArrowException, OSError) as error:
        raise FormatError(1, f"the file is no {kind} file, or damaged: {error}") from error
    yield from rows


def table_rows(table: Any) -> Iterator[Record]:
    """The rows of a `pyarrow.Table`; a null is no value. Raises `pyarrow.ArrowException`."""
    import pyarrow as pa  # noqa: PLC0415 -- an optional and large package

    fields = [field.with_type(_in_microseconds(pa, field.type)) for field in table.schema]
    return _records(table.cast(pa.schema(fields), safe=False))


def _records(table: Any) -> Iterator[Record]:
    number = 0
    for batch in table.to_batches():
        for row in batch.to_pylist():
            number += 1
            yield Record(number, {name: value for name, value in row.items() if value is not None})


def _in_microseconds(pa: Any, kind: Any) -> Any:
    """The type of a column whose times are not in nanoseconds: Python has none with so many digits."""
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if kind == pa.duration("ns"):
        return pa.duration("us")
    if kind == pa.time64("ns"):
        return pa.time64("us")
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_in_microseconds(pa, kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_in_microseconds(pa, field.type)) for field in kind])
    return kind
