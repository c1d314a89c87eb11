"""Percentiles among peers: how values are spread over accounts, and where one value stands in that.

Owns the formula of docs/reference/policy/peers.md and the way tables are made: the same for files, where one engine has
all accounts, and for `vitals peers`. Pure; called by `stream.engine.engine`, `stream.engine.scorer` and
`stream.consumers.peer_values`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import xxhash
from msgspec.structs import replace
from numpy.typing import NDArray

from schemas.codecs import encode
from schemas.peers import PeersMessage, PeerTable
from stream.plan.plan import Plan
from stream.policy.policy import Measure

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

MOST_VALUES = 500
"""A table of up to so many different values holds them all, and is exact."""
CELLS = 250
"""One of more values leaves out less than a 250th of the accounts between two values it holds: 0.4 % at most."""


def identity(measure: Measure) -> str:
    """What a measure's values mean before they are compared: 16 hexadecimal digits.

    Its name, weight and points play no part, so that they may change without a new table.
    """
    window = measure.window
    what = (measure.source, measure.stat, measure.field, measure.where, measure.of, measure.weights)
    span = (measure.per_hours, window.panes, window.unit, measure.stale_after)
    return xxhash.xxh3_64_hexdigest(json.dumps([what, span]).encode())


def table_of(measure: Measure, segment: str | None, values: Vector) -> PeerTable | None:
    """How values (k,) are spread; NaN takes no part. None when nothing is left."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    held, counts = np.unique(known, return_counts=True)
    upto = np.cumsum(counts)
    below = upto - counts
    if len(held) > MOST_VALUES:
        # The first and the last value of each 250th: what is left out lies between two of the same one.
        cells = below * CELLS // len(known)
        edges = np.flatnonzero(np.diff(cells))
        kept = np.unique(np.concatenate(([0], edges, edges + 1, [len(held) - 1])))
        held, below, upto = held[kept], below[kept], upto[kept]
    return PeerTable(measure.name, identity(measure), segment, len(known), held.tolist(), below.tolist(), upto.tolist())


def message_of(plan: Plan, as_of_ms: int, values: Matrix, segments: NDArray[np.int8] | None) -> PeersMessage:
    """The tables of accounts (k) as of a moment.

    `values` (k, p) are those of the policy's measures with peers, in order; `segments` (k,) as `stream.plan.segments`
    gives them, None when the policy has none.
    """
    tables = []
    for place, at in enumerate(plan.peers):
        measure, column = plan.measures[at].measure, values[:, place]
        tables.append(table_of(measure, None, column))
        if segments is not None:
            for number, segment in enumerate(plan.policy.segments):
                tables.append(table_of(measure, segment.name, column[segments == number]))
    message = PeersMessage("", as_of_ms, plan.label, [table for table in tables if table is not None])
    return replace(message, id=xxhash.xxh3_128_hexdigest(encode(message)))


class _Distribution:
    """A table, ready to be asked."""

    def __init__(self, table: PeerTable) -> None:
        self._values = np.array(table.values, dtype=np.float64)
        self._below = np.array(table.below, dtype=np.float64)
        self._upto = np.array(table.upto, dtype=np.float64)
        self.count = table.count

    def percentiles(self, values: Vector) -> Vector:
        """Percent of the accounts whose value is smaller, equal ones counting half; NaN for NaN.

        Between two values of the table the accounts left out there are taken to be spread evenly.
        """
        held, last = self._values, len(self._values) - 1
        right = np.searchsorted(held, values)
        at, before = np.minimum(right, last), np.maximum(right - 1, 0)
        gap = held[at] - held[before]
        share = np.divide(values - held[before], gap, out=np.zeros(len(values)), where=(gap > 0) & (right <= last))
        between = 2 * (self._upto[before] + share * (self._below[at] - self._upto[before]))
        doubled = np.where(held[at] == values, self._below[at] + self._upto[at], between)
        doubled = np.where((right == 0) & (held[0] != values), 0.0, doubled)
        return np.where(np.isnan(values), np.nan, 100.0 * doubled / (2 * self.count))


class Peers:
    """The tables a lane goes by: the newest that it was given, whole."""

    def __init__(self, plan: Plan) -> None:
        """None yet: every percentile is missing."""
        self._plan = plan
        self.message: PeersMessage | None = None
        self.taken = 0
        """How many tables have come under any policy; saved, so that revisions grow with it and never turn back."""
        self.fresh = False
        """Whether a table has come since all accounts were scored last."""
        self._distributions: list[dict[int, _Distribution]] = [{} for _ in plan.peers]
        self._saved: list[str] = []
        """Ids of the tables that the changelog holds, the newest last."""

    @cached_property
    def _wanted(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for place, at in enumerate(self._plan.peers):
            found.setdefault(identity(self._plan.measures[at].measure), []).append(place)
        return found

    def take(self, message: PeersMessage) -> bool:
        """Go by these tables from now on, unless newer ones are known or they are of other measures; tells whether."""
        known = self.message
        if known is not None and (message.as_of < known.as_of or message.id == known.id):
            return False
        if not any(table.of in self._wanted for table in message.tables):
            return False
        self._hold(message)
        self.taken += 1
        self.fresh = True
        return True

    def load(self, message: PeersMessage, saved: Iterable[str]) -> None:
        """Go by the tables that a saved state names; `saved` are the ids of all that are saved."""
        self._hold(message)
        self._saved = [*(name for name in saved if name != message.id), message.id]

    def to_save(self) -> tuple[list[PeersMessage], list[str]]:
        """The tables to write before a state that names them, and ids of those to forget after it.

        The table before the newest is kept: a state that was written late may still name it.
        """
        if self.message is None or self.message.id in self._saved[-1:]:
            return [], []
        saved = [*(name for name in self._saved if name != self.message.id), self.message.id]
        gone, self._saved = saved[:-2], saved[-2:]
        return [self.message], gone

    def _hold(self, message: PeersMessage) -> None:
        self.message = message
        self._distributions = [{} for _ in self._plan.peers]
        numbers: dict[str | None, int] = {segment.name: at for at, segment in enumerate(self._plan.policy.segments)}
        numbers[None] = -1
        for table in message.tables:
            for place in self._wanted.get(table.of, ()):
                least = self._plan.measures[self._plan.peers[place]].measure.least_peers or 1
                if table.segment in numbers and (table.segment is None or table.count >= least):
                    self._distributions[place][numbers[table.segment]] = _Distribution(table)

    def compared(self, values: Matrix, segments: NDArray[np.int8] | None) -> Matrix:
        """Values (k, m) with percentiles where the policy wants them, and behind them the values they came from.

        Shape (k, m + p). An account goes by its segment's table, or by that of all accounts where there is none.
        """
        if not self._plan.peers:
            return values
        raw = values[:, list(self._plan.peers)]
        found = np.column_stack((values, raw))
        for place, at in enumerate(self._plan.peers):
            found[:, at] = self._percentiles(place, raw[:, place], segments)
        return found

    def _percentiles(self, place: int, values: Vector, segments: NDArray[np.int8] | None) -> Vector:
        distributions, found = self._distributions[place], np.full(len(values), np.nan)
        everyone = distributions.get(-1)
        if everyone is None:
            return found
        if segments is None:
            return everyone.percentiles(values)
        for number in np.unique(segments).tolist():
            inside = segments == number
            found[inside] = distributions.get(number, everyone).percentiles(values[inside])
        return found


def raw_names(plan: Plan) -> Sequence[str]:
    """Names of the measures with peers, in the order of their values behind those of all measures."""
    return [plan.measures[at].measure.name for at in plan.peers]
