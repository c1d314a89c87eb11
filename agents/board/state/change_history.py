"""What moved one score of one account: its latest changes with their factors, packed.

Owns the chain of changes: each begins where the one before ended. Repeats are known by their id; a worker that says
changes again after a crash, grouped otherwise, replaces what it had said. Pure. Called by `agents.board.state.state`.
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
"""Further texts share one number: what the topics say can not fill the memory."""


class Names:
    """Texts as small numbers, in the order of their coming."""

    def __init__(self) -> None:
        """Empty."""
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = []

    def number(self, text: str) -> int:
        """The number of a text, a new one where it lacks."""
        found = self._numbers.get(text)
        if found is None:
            if len(self._texts) >= MOST_NAMES:
                text = "(others)"
                if text in self._numbers:
                    return self._numbers[text]
            found = self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return found

    def text(self, number: int) -> str:
        """The text of a number."""
        return self._texts[number]


class PackedChange(Struct, array_like=True, gc=False):
    """A change, packed: names are numbers of `NameTables`, factors those that moved as (measure, before, after)."""

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


class NameTables:
    """Names that all trails share."""

    def __init__(self) -> None:
        """Empty."""
        self.bands = Names()
        self.policies = Names()
        self.measures = Names()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PackedChange).decode


class ChangeHistory:
    """The latest changes of one score, oldest first: some 150 bytes each."""

    __slots__ = ("_revision", "_steps", "_times", "_to")

    def __init__(self) -> None:
        """Empty."""
        self._steps: list[bytes] = []
        self._times = array("q")
        self._revision = -1
        self._to = 0.0

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, change: ScoreChange, tables: NameTables, limit: int) -> int | None:
        """Add the newest change and keep about `limit`; returns how many it replaces, None for a repeat."""
        replaced = 0
        if self._steps and change.revision <= self._revision:
            place = self._known(change)
            if place is None:
                return None
            replaced = len(self._steps) - place
            del self._steps[place:], self._times[place:]
        time = max(change.time, self._times[-1]) if self._times else change.time
        step = PackedChange(
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
        )
        self._steps.append(_encode(step))
        self._times.append(time)
        self._revision, self._to = change.revision, change.to
        if len(self._steps) > limit + limit // 4:
            del self._steps[: len(self._steps) - limit], self._times[: len(self._times) - limit]
        return replaced

    def newest_first(self, since: int | None = None) -> Iterator[PackedChange]:
        """Changes after `since` (epoch ms), newest first."""
        first = 0 if since is None else bisect_right(self._times, since)
        for place in range(len(self._steps) - 1, first - 1, -1):
            yield _decode(self._steps[place])

    def between(self, after: int, until: int) -> tuple[PackedChange | None, list[PackedChange]]:
        """The last change at or before `after`, and those up to `until`, oldest first."""
        first, end = bisect_right(self._times, after), bisect_right(self._times, until)
        base = _decode(self._steps[first - 1]) if first else None
        return base, [_decode(step) for step in self._steps[first:end]]

    def oldest(self) -> PackedChange | None:
        """The oldest change that is kept."""
        return _decode(self._steps[0]) if self._steps else None

    def _known(self, change: ScoreChange) -> int | None:
        """Where a change that may be said again belongs: None where its id is known, else behind which it goes."""
        end = len(self._steps)
        behind = None
        for place in range(end - 1, -1, -1):
            step = _decode(self._steps[place])
            if step.id == change.id:
                return None
            if step.to == change.from_ and behind is None:
                behind = place + 1
            if step.revision < change.revision and behind is not None:
                break
        return end if behind is None else behind


def factors_of(step: PackedChange, tables: NameTables) -> list[FactorChange]:
    """A step's factors as they were published, those that moved, largest first."""
    factors = [
        FactorChange(tables.measures.text(measure), before, after, after - before)
        for measure, before, after in step.factors
    ]
    factors.sort(key=lambda factor: (-abs(factor.delta), factor.measure))
    return factors
