"""Converts a record of `health.scores` to the fields of a Redis hash and the message about its change.

Owns the names of fields and the form of messages. Unknown members of a record become fields as they are, so that the
sink need not change with the engine. Must not know Redis or Kafka. Called by `agents.sinks.redis.cache`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from schemas.records import read_key, read_members, read_message, read_text

_SCORES = "scores"


class Write(NamedTuple):
    """One record to write. `revision` None deletes the account; `values` are its scores by name."""

    account: bytes
    offset: int
    revision: int | None
    fields: dict[str, bytes]
    values: dict[str, float]
    message: bytes


class _Value(Struct):
    value: float | None
    band: str | None


class _Message(Struct):
    account_id: str
    as_of: int
    revision: int
    scores: dict[str, _Value]


class _Deleted(Struct):
    account_id: str
    deleted: bool = True


_encode = msgspec.json.Encoder().encode


def write_of(account: bytes, offset: int, value: bytes | None) -> Write:
    """The write for a record.

    Each member of the record is a field of the same name, members of a score are `value:NAME`, `band:NAME`,
    `factors:NAME`. Strings and numbers are text, lists and objects are JSON, null is left out. A
    score without a value, of an account that has ended or has no data, is in no sorted set. Raises `UnreadableError`
    when the record is not a score message.
    """
    if value is None:
        return Write(account, offset, None, {}, {}, _encode(_Deleted(read_key(account))))
    message = read_message(_Message, value)
    values = {name: score.value for name, score in message.scores.items() if score.value is not None}
    members = read_members(value)
    scores = {name: read_members(bytes(score)) for name, score in read_members(bytes(members.pop(_SCORES))).items()}
    fields = {name: raw for name, member in members.items() if (raw := _text(member)) is not None}
    for score, details in scores.items():
        fields |= {f"{name}:{score}": raw for name, member in details.items() if (raw := _text(member)) is not None}
    return Write(account, offset, message.revision, fields, values, _encode(message))


def _text(member: Raw) -> bytes | None:
    raw = bytes(member)
    if raw == b"null":
        return None
    return read_text(member).encode() if raw.startswith(b'"') else raw
