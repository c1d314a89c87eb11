"""Percentiles among peers: peer tables (the distribution of a measure over accounts), and the rank of a value in one.

Owns the formula of docs/reference/policy/peers.md and how tables are made, both for one engine that has all accounts
(files) and for `vitals peers`. Pure; called by `stream.engine.engine`, `stream.engine.scorer` and
`stream.consumers.peer_values`. Source: percentile rank with ties counted half, as in `scipy.stats.percentileofscore`
with `kind="mean"`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
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
"""A table with up to so many distinct values contains them all, and is exact."""
_EVERYONE = -1
CELLS = 250
"""A table of more distinct values leaves out less than a 250th (0.4 %) of the accounts between two of its values."""


def identity(measure: Measure) -> str:
    """A hash (16 hexadecimal digits) of how a measure computes its values, before they are compared.

    Name, weight and normaliser are not part of it: they can change without a new table.
    """
    window = measure.window
    definition = (measure.source, measure.stat, measure.field, measure.where, measure.of, measure.weights)
    span: tuple[object, ...] = (measure.per_hours, window.panes, window.unit, measure.stale_after)
    if window.counted is not None:
        span = (*span, "counted", window.counted)
    if measure.percent is not None:  # hashes of other measures stay as they were without it
        span = (*span, measure.percent)
    if measure.own is not None:
        span = (*span, asdict(measure.own))
    if measure.when is not None:
        span = (*span, asdict(measure.when))
    return xxhash.xxh3_64_hexdigest(json.dumps([definition, span]).encode())


def table_of(measure: Measure, segment: str | None, values: Vector) -> PeerTable | None:
    """The distribution of values (k,) as a peer table; NaN is left out. None when all are NaN.

    For each distinct value, `below` is the number of smaller values, `upto` the number of values not larger.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    distinct, counts = np.unique(known, return_counts=True)
    upto = np.cumsum(counts)
    below = upto - counts
    if len(distinct) > MOST_VALUES:
        # The first and last value of each 250th are kept: what is left out lies between two values of the same 250th.
        cells = below * CELLS // len(known)
        edges = np.flatnonzero(np.diff(cells))
        selected = np.unique(np.concatenate(([0], edges, edges + 1, [len(distinct) - 1])))
        distinct, below, upto = distinct[selected], below[selected], upto[selected]
    return PeerTable(
        measure.name, identity(measure), segment, len(known), distinct.tolist(), below.tolist(), upto.tolist()
    )


def message_of(plan: Plan, as_of_ms: int, values: Matrix, segments: NDArray[np.int8] | None) -> PeersMessage:
    """The peer tables of k accounts as of `as_of_ms` (epoch ms): of each measure with peers, for all and by segment.

    `values` (k, p) are those of the measures with peers, in the order of `Plan.peers`; `segments` (k,) are indexes of
    the policy's segments, -1 for none, or None when the policy has none.
    """
    tables = []
    for column, index in enumerate(plan.peers):
        measure, of_measure = plan.measures[index].measure, values[:, column]
        tables.append(table_of(measure, None, of_measure))
        if segments is not None:
            for number, segment in enumerate(plan.policy.segments):
                tables.append(table_of(measure, segment.name, of_measure[segments == number]))
    message = PeersMessage("", as_of_ms, plan.label, [table for table in tables if table is not None])
    return replace(message, id=xxhash.xxh3_128_hexdigest(encode(message)))


class _Distribution:
    """A peer table as arrays, to look values up in."""

    def __init__(self, table: PeerTable) -> None:
        self._values = np.array(table.values, dtype=np.float64)
        self._below = np.array(table.below, dtype=np.float64)
        self._upto = np.array(table.upto, dtype=np.float64)
        self.count = table.count

    def percentiles(self, values: Vector) -> Vector:
        """Percent of the accounts whose value is smaller, equal ones counting half, float64 (k,); NaN for NaN.

        The accounts that a table leaves out between two of its values count as evenly distributed between these.
        """
        table, last = self._values, len(self._values) - 1
        right = np.searchsorted(table, values)
        above, before = np.minimum(right, last), np.maximum(right - 1, 0)
        gap = table[above] - table[before]
        share = np.divide(values - table[before], gap, out=np.zeros(len(values)), where=(gap > 0) & (right <= last))
        between = 2 * (self._upto[before] + share * (self._below[above] - self._upto[before]))
        doubled = np.where(table[above] == values, self._below[above] + self._upto[above], between)
        doubled = np.where((right == 0) & (table[0] != values), 0.0, doubled)
        return np.where(np.isnan(values), np.nan, 100.0 * doubled / (2 * self.count))


class Peers:
    """The peer tables that a partition task compares with: those of the newest message with tables of this policy."""

    def __init__(self, plan: Plan) -> None:
        """Without tables: every percentile is missing."""
        self._plan = plan
        self.message: PeersMessage | None = None
        self.applied_count = 0
        """Number of tables applied under any policy. It is saved and part of revisions, so it never decreases."""
        self.changed = False
        """Whether tables were applied since all accounts were scored last."""
        self._distributions: list[dict[int, _Distribution]] = [{} for _ in plan.peers]
        """For each measure with peers, the distribution by segment index; -1 for that of all accounts."""
        self._saved: list[str] = []
        """Ids of the tables in the changelog, the newest last."""

    @property
    def as_of_ms(self) -> int | None:
        """When the tables in use were made (epoch ms); None without tables."""
        return None if self.message is None else self.message.as_of

    @cached_property
    def _columns_of(self) -> dict[str, list[int]]:
        """Columns among the measures with peers that read a table, by `identity` of the table's measure."""
        columns: dict[str, list[int]] = {}
        for column, index in enumerate(self._plan.peers):
            columns.setdefault(identity(self._plan.measures[index].measure), []).append(column)
        return columns

    def apply(self, message: PeersMessage) -> bool:
        """Compare with these tables from now on, unless they are older or of other measures; returns whether."""
        current = self.message
        if current is not None and (message.as_of < current.as_of or message.id == current.id):
            return False
        if not any(table.of in self._columns_of for table in message.tables):
            return False
        self._set(message)
        self.applied_count += 1
        self.changed = True
        return True

    def load(self, message: PeersMessage, saved: Iterable[str]) -> None:
        """Restore the tables that a saved state names; `saved` are the ids of all tables in the changelog."""
        self._set(message)
        self._saved = [*(name for name in saved if name != message.id), message.id]

    def to_save(self) -> tuple[list[PeersMessage], list[str]]:
        """The tables to write before the state that names them, and ids of tables to delete after that.

        The tables before the newest stay in the changelog: the state that is there may still name them.
        """
        if self.message is None or self.message.id in self._saved[-1:]:
            return [], []
        saved = [*(name for name in self._saved if name != self.message.id), self.message.id]
        outdated, self._saved = saved[:-2], saved[-2:]
        return [self.message], outdated

    def _set(self, message: PeersMessage) -> None:
        self.message = message
        self._distributions = [{} for _ in self._plan.peers]
        segments = enumerate(self._plan.policy.segments)
        numbers: dict[str | None, int] = {segment.name: number for number, segment in segments}
        numbers[None] = _EVERYONE
        for table in message.tables:
            for column in self._columns_of.get(table.of, ()):
                least = self._plan.measures[self._plan.peers[column]].measure.least_peers or 1
                if table.segment in numbers and (table.segment is None or table.count >= least):
                    self._distributions[column][numbers[table.segment]] = _Distribution(table)

    def with_percentiles(self, values: Matrix, segments: NDArray[np.int8] | None) -> Matrix:
        """Values (k, n) with percentiles in place of those of the p measures with peers, float64 (k, n + p).

        The values that the percentiles were computed from are the last p columns. An account is compared with the table
        of its segment, or with that of all accounts where its segment has none.
        """
        if not self._plan.peers:
            return values
        raw = values[:, list(self._plan.peers)]
        result = np.column_stack((values, raw))
        for column, index in enumerate(self._plan.peers):
            result[:, index] = self._percentiles(column, raw[:, column], segments)
        return result

    def _percentiles(self, column: int, values: Vector, segments: NDArray[np.int8] | None) -> Vector:
        distributions, percentiles = self._distributions[column], np.full(len(values), np.nan)
        everyone = distributions.get(_EVERYONE)
        if everyone is None:
            return percentiles
        if segments is None:
            return everyone.percentiles(values)
        for number in np.unique(segments).tolist():
            inside = segments == number
            percentiles[inside] = distributions.get(number, everyone).percentiles(values[inside])
        return percentiles


def raw_names(plan: Plan) -> Sequence[str]:
    """Names of the measures with peers, in the order of the last columns of `Peers.with_percentiles`."""
    return [plan.measures[index].measure.name for index in plan.peers]
