"""The form of dead letters: a record as it came, with headers that say why it was refused, and where and when it was.

Owns these headers, for all who write and read them. Called by `agents.worker.tasks.records`, `agents.mapper.records`,
`agents.sinks.dead_letters` and `agents.dlq.letters`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from schemas.topics import ERROR_HEADER

UNKNOWN_REASON = "unknown"
_TIME = f"{ERROR_HEADER}time"

Headers: TypeAlias = Iterable[tuple[str, bytes | None]]


class Position(NamedTuple):
    """Where a record is; written `TOPIC/PARTITION/OFFSET`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """`TOPIC/PARTITION/OFFSET`."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class Refusal(NamedTuple):
    """Why a record is a dead letter; `origin` is its position, `time_ms` its time in its topic.

    A letter of an earlier version has no `time_ms`; one that something else has written may have no `origin`.
    """

    reason: str
    message: str
    origin: Position | None
    time_ms: int | None = None


def error_headers(refusal: Refusal) -> list[tuple[str, bytes]]:
    """The headers that a dead letter has beside those of its record."""
    origin = {} if refusal.origin is None else refusal.origin._asdict()
    error = {"reason": refusal.reason, "message": refusal.message, **origin}
    headers = [(ERROR_HEADER + name, str(value).encode()) for name, value in error.items()]
    if refusal.time_ms is not None and refusal.time_ms >= 0:  # -1: the record has no time
        headers.append((_TIME, str(refusal.time_ms).encode()))
    return headers


def sendable(record: Any, refusal: Refusal) -> dict[str, Any]:
    """The dead letter of a consumer's record, as arguments of the `send` of kafka-python's producer.

    It cannot write a null header, nor a null value without a key: these are written empty.
    """
    headers = [(name, value or b"") for name, value in record.headers or ()]
    value = b"" if record.key is None and record.value is None else record.value
    return {"key": record.key, "value": value, "headers": [*headers, *error_headers(refusal)]}


def taken_apart(headers: Headers | None) -> tuple[Refusal, list[tuple[str, bytes | None]]]:
    """Why a record of a dead-letter topic was refused, and the headers that it had before."""
    error: dict[str, str] = {}
    original: list[tuple[str, bytes | None]] = []
    for name, value in headers or ():
        if name.startswith(ERROR_HEADER):
            error[name.removeprefix(ERROR_HEADER)] = (value or b"").decode(errors="replace")
        else:
            original.append((name, value))
    try:
        origin = Position(error["topic"], int(error["partition"]), int(error["offset"]))
    except (KeyError, ValueError):
        origin = None
    time = error.get("time", "")
    time_ms = int(time) if time.isascii() and time.isdecimal() else None
    return Refusal(error.get("reason", UNKNOWN_REASON), error.get("message", ""), origin, time_ms), original
