"""The file of what an import leaves out: one JSON line for each record, with its file, line, reason and content.

Owns the form of a line, and what is remembered of them for printing. Called by `vitals import`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import IO, Any, Self

import msgspec
import xxhash

from agents.files.playback import BadLine


class Rejects:
    """What is left out; written to a file, which exists only if there is something. Use it in a `with` statement."""

    def __init__(self, path: Path | None, *, remembered: int, goes_on: bool = False) -> None:
        """`path` None: nothing is written. `goes_on`: the file keeps what it has, and no line of it is written again.

        Of one file and reason, the first `remembered` are in `first`.
        """
        self.path = path
        self.first: list[BadLine] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self._remembered, self._goes_on = remembered, goes_on
        self._file: IO[bytes] | None = None
        self._written = _whole_lines(path) if goes_on and path is not None and path.exists() else set()

    def add(self, bad: BadLine, record: bytes | dict[str, Any] | None) -> None:
        """Leave out a record, or some of its fields. Raises OSError."""
        key = (bad.file, bad.reason)
        self.counts[key] += 1
        if self.counts[key] <= self._remembered:
            self.first.append(bad)
        if self.path is not None:
            line = {
                "file": bad.file,
                "line": bad.line,
                "reason": bad.reason,
                "message": bad.message,
                "record": record.decode(errors="replace") if isinstance(record, bytes) else record,
            }
            encoded = msgspec.json.encode(line) + b"\n"
            if xxhash.xxh3_64_intdigest(encoded) not in self._written:
                self._stream(self.path).write(encoded)

    def flush(self) -> None:
        """Give what was added to the operating system, so that it outlives this process."""
        if self._file is not None:
            self._file.flush()

    def _stream(self, path: Path) -> IO[bytes]:
        if self._file is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab" if self._goes_on else "wb")
        return self._file

    def __enter__(self) -> Self:
        """Begin; a file of an earlier run is deleted, unless it goes on."""
        if self.path is not None and not self._goes_on:
            self.path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _whole_lines(path: Path) -> set[int]:
    """Hashes of the lines of a file; one that was cut off by a kill is removed. Raises OSError."""
    written: set[int] = set()
    with path.open("rb+") as file:
        whole = 0
        for line in file:
            if not line.endswith(b"\n"):
                file.truncate(whole)
                break
            whole += len(line)
            written.add(xxhash.xxh3_64_intdigest(line))
    return written
