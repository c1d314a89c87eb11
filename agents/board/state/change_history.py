"""The latest changes of one score of one account, with their factors, packed.

Owns the chain of changes: each starts where the previous one ended. A repeat has the id of a change that is there. A
worker that publishes changes again after a crash, grouped differently, replaces the earlier ones. Pure. Called by
`agents.board.state.state`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import get_args

import msgspec
from msgspec import Struct

from schemas.outputs import Cause, FactorChange, Override, ScoreChange

CAUSES: tuple[Cause, ...] = get_args(Cause)
MOST_NAMES = 60_000
"""Further texts share one number, so that the topics cannot fill the memory."""


class Names:
    """Numbers for texts, in the order in which the texts appear."""

    def __init__(self) -> None:
        """Empty."""
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = []

    def number(self, text: str) -> int:
        """The number of a text; a new text gets the next number."""
        number = self._numbers.get(text)
        if number is None:
            if len(self._texts) >= MOST_NAMES:
                text = "(others)"
                if text in self._numbers:
                    return self._numbers[text]
            number = self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return number

    def text(self, number: int) -> str:
        """The text of a number."""
        return self._texts[number]


class PackedChange(Struct, array_like=True, gc=False):
    """A change, packed: names are numbers of `NameTables`, factors those that changed: (measure, before, after)."""

    id: str
    time: int
    revision: int
    from_: float
    to: float
    band_from: int | None
    band_to: int
    cause: str
    policy: int
    factors: list[tuple[int, float, float]]
    override: Override | None = None
    state: str | None = None


class NameTables:
    """Numbers of names, shared by all change histories."""

    def __init__(self) -> None:
        """Empty."""
        self.bands = Names()
        self.policies = Names()
        self.measures = Names()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PackedChange).decode


class ChangeHistory:
    """The latest changes of one score, oldest first, about 150 bytes each."""

    __slots__ = ("_changes", "_revision", "_times")

    def __init__(self) -> None:
        """Empty."""
        self._changes: list[bytes] = []
        self._times = array("q")
        self._revision = -1

    def __len__(self) -> int:
        return len(self._changes)

    def add(self, change: ScoreChange, tables: NameTables, limit: int) -> int | None:
        """Add the newest change and keep about `limit`.

        Returns how many earlier changes it replaces; None for a repeat.
        """
        replaced = 0
        if self._changes and change.revision <= self._revision:
            index = self._index_of(change)
            if index is None:
                return None
            replaced = len(self._changes) - index
            del self._changes[index:], self._times[index:]
        time = max(change.time, self._times[-1]) if self._times else change.time
        packed = PackedChange(
            change.id,
            time,
            change.revision,
            change.from_,
            change.to,
            None if change.band_from is None else tables.bands.number(change.band_from),
            tables.bands.number(change.band_to),
            change.cause,
            tables.policies.number(change.policy),
            [
                (tables.measures.number(factor.measure), factor.before, factor.after)
                for factor in change.factors
                if factor.before != factor.after
            ],
            change.override,
            change.state,
        )
        self._changes.append(_encode(packed))
        self._times.append(time)
        self._revision = change.revision
        if len(self._changes) > limit + limit // 4:
            del self._changes[: len(self._changes) - limit], self._times[: len(self._times) - limit]
        return replaced

    def newest_first(self, since: int | None = None) -> Iterator[PackedChange]:
        """Changes after `since` (epoch ms), newest first."""
        first = 0 if since is None else bisect_right(self._times, since)
        for index in range(len(self._changes) - 1, first - 1, -1):
            yield _decode(self._changes[index])

    def between(self, after: int, until: int) -> tuple[PackedChange | None, list[PackedChange]]:
        """The last change at or before `after`, and those up to `until`, oldest first."""
        first, end = bisect_right(self._times, after), bisect_right(self._times, until)
        base = _decode(self._changes[first - 1]) if first else None
        return base, [_decode(packed) for packed in self._changes[first:end]]

    def oldest(self) -> PackedChange | None:
        """The oldest change in the history."""
        return _decode(self._changes[0]) if self._changes else None

    def _index_of(self, change: ScoreChange) -> int | None:
        """The index that a change published again has; None if its id is there."""
        end = len(self._changes)
        index = None
        for earlier in range(end - 1, -1, -1):
            packed = _decode(self._changes[earlier])
            if packed.id == change.id:
                return None
            if packed.to == change.from_ and index is None:
                index = earlier + 1
            if packed.revision < change.revision and index is not None:
                break
        return end if index is None else index


def factors_of(packed: PackedChange, tables: NameTables) -> list[FactorChange]:
    """The factors of a change as they were published, without those that did not change, largest first."""
    factors = [
        FactorChange(tables.measures.text(measure), before, after, after - before)
        for measure, before, after in packed.factors
    ]
    factors.sort(key=lambda factor: (-abs(factor.delta), factor.measure))
    return factors
