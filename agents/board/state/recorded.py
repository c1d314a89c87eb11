"""Replay recorded topics into a board: JSON lines instead of a broker, to look at a page and for tests.

Owns the format of a line: `{"topic", "key", "value", "timestamp"}`, in the order of the records; a null value is a
tombstrecorded. Called by `vitals board --from`.
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


def records_of(lines: TextIO, name: str) -> Iterator[Record]:
    """The records of topics that a board reads. Raises `RecordingError`."""
    decode = msgspec.json.Decoder(Recorded).decode
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            recorded = decode(line)
        except msgspec.MsgspecError as error:
            msg = f"{name}, line {number}: {error}"
            raise RecordingError(msg) from error
        if recorded.topic in TOPICS:
            value = None if bytes(recorded.value) == b"null" else bytes(recorded.value)
            yield Record(
                recorded.topic, None if recorded.key is None else recorded.key.encode(), value, recorded.timestamp
            )


async def replay(path: Path, board: Board, *, follow: bool) -> None:
    """Read a file into a board; with `follow`, also what is appended later, for ever. Raises `RecordingError`."""
    with path.open(encoding="utf-8") as lines:
        while True:
            batch: list[Record] = []
            for record in records_of(lines, str(path)):
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
