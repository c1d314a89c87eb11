"""The events of an import in a file of their own, in order of time, with how far they have been sent.

Owns the SQLite file: it sorts with bounded memory (the index), and it survives a kill at any moment, since a spool that
is not complete has another name. Must not know event files and Kafka. Called by `vitals import`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
from msgspec import Struct

from agents.imports.plan import Plan

_SCHEMA = """
DROP TABLE IF EXISTS events;
DROP TABLE IF EXISTS state;
CREATE TABLE state (document BLOB);
CREATE TABLE events (
  number INTEGER PRIMARY KEY, time INTEGER, rank INTEGER, source TEXT, account TEXT, value BLOB, file TEXT, line INTEGER
);
"""
_INSERT = "INSERT INTO events (time, rank, source, account, value, file, line) VALUES (?, ?, ?, ?, ?, ?, ?)"
_NEXT = """
SELECT time, rank, source, account, value, file, line, number FROM events
WHERE (time, rank, number) > (?, ?, ?) ORDER BY time, rank, number LIMIT ?
"""
_BEFORE_ALL = (-(2**62), -1, -1)
_READING = ".reading"
_MOST_BYTES = 16 * 1024 * 1024
"""Of the values that are read at once, unless a single one is larger."""


class SpoolError(RuntimeError):
    """A spool that cannot be used; the message says what to do."""


class SpooledEvent(NamedTuple):
    """An event to send, with the file and line that it is from. `rank` is that of its source among equal times.

    `value` None deletes a profile. `number` is its place in the files; it is given when it is read back.
    """

    time_ms: int
    rank: int
    source: str
    account: str
    value: bytes | None
    file: str
    line: int
    number: int = 0


class State(Struct):
    """What is saved of an import. `inputs` are what was read; `after` is the last event that is sent."""

    inputs: dict[str, str]
    plan: Plan
    sent: int = 0
    refused: int = 0
    """Events that the broker did not take."""
    after: tuple[int, int, int] = _BEFORE_ALL
    is_done: bool = False


class Spool:
    """An open spool, which no other process can open. Use it in a `with` statement."""

    def __init__(self, path: Path) -> None:
        """Open the complete spool at a path. Raises SpoolError."""
        self._path = path
        self._connection = _opened(path)
        try:
            ((document,),) = self._connection.execute("SELECT document FROM state")
            self.state = msgspec.json.decode(document, type=State)
        except (sqlite3.DatabaseError, ValueError) as error:
            self._connection.close()
            raise SpoolError(f"{path} cannot be read ({error}): delete it to begin again") from error

    @classmethod
    def create(cls, path: Path, inputs: dict[str, str], events: Iterable[SpooledEvent], plan: Plan) -> Spool:
        """Write a spool of all events, in any order; `plan` is complete when they end. Raises what `events` raises."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + _READING)
        connection = _opened(unfinished)
        try:
            # Nothing is lost with a file that is not complete: it is written again.
            connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_SCHEMA}")
            connection.execute("BEGIN")
            connection.executemany(_INSERT, (event[:-1] for event in events))
            connection.execute("CREATE INDEX in_order ON events (time, rank, number)")
            connection.execute("INSERT INTO state VALUES (?)", (msgspec.json.encode(State(inputs, plan)),))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise SpoolError(f"{unfinished} cannot be written: {error}") from error
        finally:
            connection.close()
        unfinished.replace(path)
        return cls(path)

    def __enter__(self) -> Self:
        """Use this spool."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._connection.close()

    def unsent(self, size: int) -> Iterator[list[SpooledEvent]]:
        """The events that are not sent, in order of time, at most `size` at once; call `mark_sent` after each list."""
        while True:
            events, total_bytes = [], 0
            for row in self._connection.execute(_NEXT, (*self.state.after, size)):
                events.append(SpooledEvent(*row))
                total_bytes += len(events[-1].value or b"")
                if total_bytes >= _MOST_BYTES:
                    break
            if not events:
                return
            yield events

    def mark_sent(self, events: list[SpooledEvent], refused: int) -> None:
        """Save that these events were acknowledged, but for those that were refused."""
        last = events[-1]
        self.state.after = (last.time_ms, last.rank, last.number)
        self.state.sent += len(events) - refused
        self.state.refused += refused
        self._save()

    def finish(self) -> None:
        """Save that all events are sent, and free their space."""
        self.state.is_done = True
        self._save()
        self._connection.execute("DELETE FROM events")
        self._connection.execute("VACUUM")

    def _save(self) -> None:
        try:
            self._connection.execute("UPDATE state SET document = ?", (msgspec.json.encode(self.state),))
        except sqlite3.Error as error:
            raise SpoolError(f"{self._path} cannot be written: {error}") from error


def _opened(path: Path) -> sqlite3.Connection:
    """A connection that locks the file until it is closed."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        connection.executescript("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT")
    except sqlite3.OperationalError as error:
        connection.close()
        raise SpoolError(f"{path}: {error}: is the same import running already?") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise SpoolError(f"{path} is damaged ({error}): delete it to begin again") from error
    return connection
