"""Tables of peers: the messages of `vitals-peers`, and what of `health.scores` they are made from.

Owns their shape and their JSON. Made by `stream.scoring.peers`, written by `agents.derived.peers`, read by every
worker.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct


class PeerTable(Struct, gc=False):
    """How the values of one measure are spread over some accounts: all, or those of one segment of the policy.

    `of` names what is measured (a hash), whatever the measure is called. `values` ascend; `below` and `upto` count the
    accounts whose value is smaller, and not larger, than each; `count` is all that have a value.
    """

    measure: str
    of: str
    segment: str | None
    count: int
    values: list[float]
    below: list[int]
    upto: list[int]


class PeersMessage(Struct, gc=False):
    """`vitals-peers`: all tables as of a UTC midnight (epoch ms); the same record goes into every partition.

    `id` is a hash of the rest.
    """

    id: str
    as_of: int
    policy: str
    tables: list[PeerTable]


class PeerScore(Struct, gc=False):
    """What a record of `health.scores` says of a peer: its segment, and its values before they were compared."""

    as_of: int
    policy: str
    segment: str | None = None
    raw: dict[str, float | None] | None = None


_MESSAGE = msgspec.json.Decoder(PeersMessage)
_SCORE = msgspec.json.Decoder(PeerScore)


def read_message(value: bytes) -> PeersMessage:
    """A record of `vitals-peers`. Raises `msgspec.DecodeError`."""
    return _MESSAGE.decode(value)


def read_score(value: bytes) -> PeerScore:
    """A record of `health.scores`. Raises `msgspec.DecodeError`."""
    return _SCORE.decode(value)
