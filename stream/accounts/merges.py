"""Merges of accounts: where an account was merged into, and which accounts were merged into it.

Owns what a row keeps of merges and its form in a changelog row. An account that was merged has a pointer to the other
one (`MergedInto`). That one has an `Origin` for each account that was merged into it: the merges whose state it has,
and of the records that were forwarded the largest offset by input, so that a record which a crash has forwarded twice
counts once. What a merge does is for `stream.engine.merging`. A part of `stream.accounts.accounts.Accounts`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec
from msgspec import Struct


class MergedInto(Struct, omit_defaults=True):
    """Where an account was merged into: `merge` names the merge, `time` (epoch ms) is the control's."""

    account: str
    merge: str
    time: int
    sent: bool = False
    """Whether the state was sent to the other account; until then the row has it."""


class Origin(Struct, omit_defaults=True):
    """What an account has of another one that was merged into it, or into one of those."""

    merges: list[str] = []
    """The merges whose state was added."""
    offsets: dict[str, int] = {}
    """Of forwarded records the largest offset, by what they were read from: input, partition and source."""


class _Saved(Struct, omit_defaults=True):
    into: MergedInto | None = None
    origins: dict[str, Origin] = {}


class Merges:
    """The merges of the accounts of one partition, by row."""

    def __init__(self) -> None:
        """No account was merged."""
        self.into: dict[int, MergedInto] = {}
        """Where accounts were merged into; changed only here, so that `unsent` follows."""
        self.unsent: set[int] = set()
        """Rows of merged accounts whose state was not sent: asked after every step, so it is not searched for."""
        self.origins: dict[int, dict[str, Origin]] = {}

    def __contains__(self, row: object) -> bool:
        """Whether a row has a pointer or an origin."""
        return row in self.into or row in self.origins

    def __bool__(self) -> bool:
        """Whether any row has one."""
        return bool(self.into or self.origins)

    def point(self, row: int, into: MergedInto) -> None:
        """Set where an account was merged into."""
        self.into[row] = into
        if not into.sent:
            self.unsent.add(row)

    def sent(self, row: int) -> None:
        """Note that the state of a merged account was sent."""
        self.into[row].sent = True
        self.unsent.discard(row)

    def undo(self, row: int) -> None:
        """Forget where an account was merged into."""
        self.into.pop(row, None)
        self.unsent.discard(row)

    def origin(self, row: int, account: str) -> Origin:
        """What a row has of an account, to be changed."""
        return self.origins.setdefault(row, {}).setdefault(account, Origin())

    def add_origins(self, row: int, origins: Iterable[str]) -> None:
        """Name accounts that were merged into one that is merged into this one."""
        for account in origins:
            self.origin(row, account)

    def passes(self, row: int, account: str, read_from: str, offset: int) -> bool:
        """Record that a record of an account was forwarded to this row; returns whether it is the first time.

        `read_from` is the input, partition and source of the record, `offset` its offset there.
        """
        offsets = self.origin(row, account).offsets
        first = offset > offsets.get(read_from, -1)
        if first:
            offsets[read_from] = offset
        return first

    def pop(self, row: int, default: None = None) -> None:
        """Forget what a row has."""
        del default
        self.undo(row)
        self.origins.pop(row, None)

    def save(self, row: int) -> bytes:
        """What a row has, as JSON."""
        return msgspec.json.encode(_Saved(self.into.get(row), self.origins.get(row, {})))

    def load(self, row: int, saved: bytes) -> None:
        """Fill a row from what `save` returned."""
        loaded = msgspec.json.decode(saved, type=_Saved)
        if loaded.into is not None:
            self.point(row, loaded.into)
        if loaded.origins:
            self.origins[row] = loaded.origins


def without_offsets(saved: bytes, inputs: Collection[str] | None) -> bytes:
    """What a row has as JSON, without the offsets of forwarded records of these inputs (None: of all)."""
    loaded = msgspec.json.decode(saved, type=_Saved)
    for origin in loaded.origins.values():
        origin.offsets = {
            read_from: offset
            for read_from, offset in origin.offsets.items()
            if inputs is not None and read_from.partition("/")[0] not in inputs
        }
    return msgspec.json.encode(loaded)
