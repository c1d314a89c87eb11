"""Peer tables: the messages of `vitals-peers`, and the fields of `health.scores` that they are made from.

Owns their fields and their JSON. Made by `stream.scoring.peers`, written by `agents.derived.peers`, read by every
worker.
"""

from __future__ import annotations

from msgspec import Struct


class PeerTable(Struct, gc=False):
    """The distribution of one measure over all accounts, or those of one segment of the policy.

    `of` is a hash of what the measure computes, whatever its name. `values` ascend; `below` and `upto` count the
    accounts whose value is smaller, and not larger, than each; `count` is all accounts that have a value.
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
    """A record of `health.scores`, read for peer tables: the segment, and the values before they were compared."""

    as_of: int
    policy: str
    segment: str | None = None
    raw: dict[str, float | None] | None = None
