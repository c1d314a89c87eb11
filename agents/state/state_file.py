"""The file of `vitals state export`: JSON Lines, compressed where its name ends in .gz, complete or not there at all.

Owns the format. The first line describes the deployment. Each partition follows: a line that describes it, then a line
for each changelog record, key and value in base64. The last line has the number of records and the SHA-256 of all lines
before it. Called by `agents.state`.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

FORMAT = 1


class StateFileError(ValueError):
    """A file that is not a complete export; the message names the file and says what is wrong."""


class Header(msgspec.Struct, frozen=True):
    """The first line; `topics` are the ids of the input topics by name."""

    format: int
    version: str
    group: str
    changelog: str
    partitions: int
    topics: dict[str, str]


class PartitionLine(msgspec.Struct, frozen=True):
    """What is known of one partition.

    `end` is the changelog offset up to which it was read, `policy` the label of its policy (empty without state),
    `not_final` why it cannot be moved (see `agents.state.saved.not_final`).
    """

    partition: int
    end: int
    policy: str
    records: int
    accounts: int
    not_final: str | None


class _RecordLine(msgspec.Struct, frozen=True):
    p: int
    k: str
    v: str


class _LastLine(msgspec.Struct, frozen=True):
    records: int
    accounts: int
    sha256: str


class _Stream(Protocol):
    def write(self, data: bytes, /) -> object:
        """Append bytes."""


class Writer:
    """Writes one file, line by line."""

    def __init__(self, stream: _Stream) -> None:
        """Begin; `partition` and `finish` write the rest."""
        self._stream = stream
        self._digest = hashlib.sha256()
        self.records = 0
        self.accounts = 0

    def _line(self, content: object) -> None:
        line = msgspec.json.encode(content) + b"\n"
        self._digest.update(line)
        self._stream.write(line)

    def header(self, header: Header) -> None:
        """Write the first line."""
        self._line(header)

    def partition(self, line: PartitionLine, records: Mapping[bytes, bytes]) -> None:
        """Write a partition."""
        self._line(line)
        for key, value in records.items():
            self._line(_RecordLine(line.partition, b64encode(key).decode(), b64encode(value).decode()))
        self.records += line.records
        self.accounts += line.accounts

    def finish(self) -> None:
        """Write the last line."""
        self._line(_LastLine(self.records, self.accounts, self._digest.hexdigest()))


@contextmanager
def writing(path: Path, *, dry_run: bool = False) -> Iterator[Writer]:
    """Write a file that appears under its name when it is complete; with `dry_run` never.

    Raises OSError; FileExistsError if it is there.
    """
    if path.exists():
        raise FileExistsError(17, "the file exists; give another name", str(path))
    if dry_run:
        with Path(os.devnull).open("wb") as nowhere:
            yield Writer(nowhere)
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as raw:
        temporary = Path(raw.name)
        try:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=raw, mode="wb") as stream:
                    writer = Writer(stream)
                    yield writer
                    writer.finish()
            else:
                writer = Writer(raw)
                yield writer
                writer.finish()
            raw.flush()
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


class Contents(NamedTuple):
    """A file that was verified: its first line and the lines of its partitions."""

    path: Path
    header: Header
    partitions: dict[int, PartitionLine]
    accounts: int

    def read(self) -> Iterator[tuple[int, dict[bytes, bytes]]]:
        """The records of one partition after the other."""
        number, records = None, dict[bytes, bytes]()
        for line in _lines(self.path):
            record = _record(line)
            if record is None:
                if number is not None:
                    yield number, records
                number, records = _partition_number(line), {}
            else:
                records[b64decode(record.k)] = b64decode(record.v)


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        yield from stream


def _record(line: bytes) -> _RecordLine | None:
    return msgspec.json.decode(line, type=_RecordLine) if line.startswith(b'{"p":') else None


def _partition_number(line: bytes) -> int | None:
    return msgspec.json.decode(line, type=PartitionLine).partition if line.startswith(b'{"partition":') else None


class _Check:
    """What is known of a file while it is read."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.partitions: dict[int, PartitionLine] = {}
        self.last: _LastLine | None = None
        self._counts: dict[int, int] = {}
        self._digest = hashlib.sha256()

    def line(self, line: bytes) -> str | None:
        """Take the next line; returns what is wrong with it."""
        problem = None
        if self.last is not None:
            problem = "there are lines after the last one"
        elif self.header is None:
            self.header = msgspec.json.decode(line, type=Header)
            if self.header.format != FORMAT:
                problem = f"format {self.header.format}, but this version reads format {FORMAT}"
        elif (record := _record(line)) is not None:
            self._counts[record.p] = self._counts.get(record.p, 0) + 1
        elif _partition_number(line) is not None:
            described = msgspec.json.decode(line, type=PartitionLine)
            self.partitions[described.partition] = described
        else:
            self.last = msgspec.json.decode(line, type=_LastLine)
            if self.last.sha256 != self._digest.hexdigest():
                problem = "its checksum is another: it was changed or damaged"
        self._digest.update(line)
        return problem

    def counts_agree(self) -> bool:
        """Whether each partition has as many records as its line says."""
        return all(self._counts.get(number, 0) == line.records for number, line in self.partitions.items())


def verified(path: Path) -> Contents:
    """Read a file to its end and compare it with its last line. Raises OSError, `StateFileError`."""
    check = _Check()
    try:
        problems = [problem for line in _lines(path) if (problem := check.line(line))]
    except (msgspec.DecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _wrong(path, f"not a complete file of `vitals state export`: {error}") from error
    if problems:
        raise _wrong(path, problems[0])
    if check.header is None or check.last is None:
        raise _wrong(path, "it has no last line: the export was not complete")
    if not check.counts_agree():
        raise _wrong(path, "a partition has another number of records than its line says")
    return Contents(path, check.header, check.partitions, check.last.accounts)


def _wrong(path: Path, reason: str) -> StateFileError:
    return StateFileError(f"{path}: {reason}")
