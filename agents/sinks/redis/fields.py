"""What Redis holds of an account: a record of `health.scores` as the fields of a hash, and the message of its change.

Owns the names of fields and the form of messages. Members that the sink has never heard of are taken over as they are,
so that it need not change with the engine. Must not know Redis or Kafka. Called by `agents.sinks.redis.cache`.
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


class _Told(Struct):
    account_id: str
    as_of: int
    revision: int
    scores: dict[str, _Value]


class _Deleted(Struct):
    account_id: str
    deleted: bool = True


_top = msgspec.json.Decoder(dict[str, Raw]).decode
_scores = msgspec.json.Decoder(dict[str, dict[str, Raw]]).decode
_told = msgspec.json.Decoder(_Told).decode
_encode = msgspec.json.Encoder().encode


def write_of(account: bytes, offset: int, value: bytes | None) -> Write:
    """The write that a record asks for; its fields are these, all text.

    Each member of the record is a field of its name, members of a score are `value:NAME`, `band:NAME`, `factors:NAME`.
    Strings and numbers stand as they are, lists and objects as JSON, null is left out. Raises `msgspec.MsgspecError`,
    UnicodeDecodeError or RecursionError for what is no score message.
    """
    if value is None:
        return Write(account, offset, None, {}, {}, _encode(_Deleted(account.decode())))
    told = _told(value)
    members = _top(value)
    scores = _scores(members.pop(_SCORES))
    fields = {name: raw for name, member in members.items() if (raw := _text(member)) is not None}
    for score, parts in scores.items():
        fields |= {f"{part}:{score}": raw for part, member in parts.items() if (raw := _text(member)) is not None}
    values = {name: one.value for name, one in told.scores.items()}
    return Write(account, offset, told.revision, fields, values, _encode(told))


def _text(member: Raw) -> bytes | None:
    raw = bytes(member)
    if raw == b"null":
        return None
    return msgspec.json.decode(raw, type=str).encode() if raw.startswith(b'"') else raw
