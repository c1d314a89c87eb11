"""Replay recorded topics into a board: JSON lines instead of a broker, to look at a page and for tests.

Owns the format of a line: `{"topic", "key", "value", "timestamp"}`, in the order of the records; a null value is a
tombstone. Called by `vitals board --from`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import msgspec
from msgspec import Raw, Struct

from agents.board.state.board import Board, Record
from agents.board.state.state import TOPICS

_PAUSE_S = 0.2
_AT_ONCE = 2_000


class Recorded(Struct):
    """One line."""

    topic: str
    key: str | None
    value: Raw
    timestamp: int = 0


class RecordingError(ValueError):
    """A line that cannot be decoded; the message names it."""


class Lines:
    """The lines of a file that others append to: a line without its end waits until the rest is written."""

    def __init__(self, file: TextIO) -> None:
        """Begin at the file's position."""
        self._file = file
        self._unfinished = ""
        self.number = 0
        """Lines returned so far."""

    def _texts(self) -> Iterator[str]:
        try:
            yield from self._file
        except UnicodeDecodeError as error:
            msg = f"{self._file.name}, after line {self.number}: {error}"
            raise RecordingError(msg) from error

    def written(self, *, last: bool) -> Iterator[str]:
        """The lines written since the last call; with `last`, also one that does not end."""
        for text in self._texts():
            line, self._unfinished = self._unfinished + text, ""
            if line.endswith("\n") or last:
                self.number += 1
                yield line
            else:
                self._unfinished = line


def records_of(lines: Lines, name: str, *, last: bool) -> Iterator[Record]:
    """The records of topics that a board reads. Raises `RecordingError`."""
    decode = msgspec.json.Decoder(Recorded).decode
    for line in lines.written(last=last):
        if not line.strip():
            continue
        try:
            recorded = decode(line)
        except (msgspec.MsgspecError, RecursionError) as error:
            msg = f"{name}, line {lines.number}: {error}"
            raise RecordingError(msg) from error
        if recorded.topic in TOPICS:
            value = None if bytes(recorded.value) == b"null" else bytes(recorded.value)
            yield Record(
                recorded.topic, None if recorded.key is None else recorded.key.encode(), value, recorded.timestamp
            )


async def replay(path: Path, board: Board, *, follow: bool) -> None:
    """Read a file into a board; with `follow`, also what is appended later, for ever. Raises `RecordingError`."""
    with path.open(encoding="utf-8") as file:
        lines = Lines(file)
        while True:
            batch: list[Record] = []
            for record in records_of(lines, str(path), last=not follow):
                batch.append(record)
                if len(batch) == _AT_ONCE:
                    board.apply(batch)
                    batch.clear()
                    await asyncio.sleep(0)
            board.apply(batch)
            for progress in board.progress.values():
                progress.exists = True
            if not board.ready:
                board.finish_loading()
            if not follow:
                return
            await asyncio.sleep(_PAUSE_S)
