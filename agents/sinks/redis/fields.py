"""Converts a record of `health.scores` to the fields of a Redis hash and the message about its change.

Owns the names of fields and the form of messages. Unknown members of a record become fields as they are, so that the
sink need not change with the engine. Must not know Redis or Kafka. Called by `agents.sinks.redis.cache`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

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
    value: float
    band: str


class _Message(Struct):
    account_id: str
    as_of: int
    revision: int
    scores: dict[str, _Value]


class _Deleted(Struct):
    account_id: str
    deleted: bool = True


_top = msgspec.json.Decoder(dict[str, Raw]).decode
_scores = msgspec.json.Decoder(dict[str, dict[str, Raw]]).decode
_message = msgspec.json.Decoder(_Message).decode
_encode = msgspec.json.Encoder().encode


def write_of(account: bytes, offset: int, value: bytes | None) -> Write:
    """The write for a record.

    Each member of the record is a field of the same name, members of a score are `value:NAME`, `band:NAME`,
    `factors:NAME`. Strings and numbers are text, lists and objects are JSON, null is left out. Raises
    `msgspec.MsgspecError`, UnicodeDecodeError or RecursionError when the record is not a score message.
    """
    if value is None:
        return Write(account, offset, None, {}, {}, _encode(_Deleted(account.decode())))
    message = _message(value)
    members = _top(value)
    scores = _scores(members.pop(_SCORES))
    fields = {name: raw for name, member in members.items() if (raw := _text(member)) is not None}
    for score, details in scores.items():
        fields |= {f"{name}:{score}": raw for name, member in details.items() if (raw := _text(member)) is not None}
    values = {name: score.value for name, score in message.scores.items()}
    return Write(account, offset, message.revision, fields, values, _encode(message))


def _text(member: Raw) -> bytes | None:
    raw = bytes(member)
    if raw == b"null":
        return None
    return msgspec.json.decode(raw, type=str).encode() if raw.startswith(b'"') else raw
