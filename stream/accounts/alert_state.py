"""What is remembered of every account's alerts, one array a field, one row an account.

Owns the arrays and their form in a changelog row; fields carry the rule's name, so that they migrate by name. What they
mean is for `stream.accounts.alert_lifecycle`, what happens to them for `stream.alerts.emission`. A part of
`stream.accounts.accounts.Accounts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.accounts.alert_lifecycle import Phase, is_open
from stream.columns.columns import PaneColumn, Rows
from stream.plan.rules import RulePlan

Field = tuple[str, Any, tuple[int, ...]]

TOLD = {"phase": "|i1", "began": "<i8", "ended": "<i8", "flaps": "<i2", "stormy": "|i1"}
"""Of every rule: what was told last, since when (ms; 0 never), when it was resolved last (ms; 0 never), flaps in a row,
and whether a storm's digest speaks for it."""
HELD = {"held": "|i1", "since": "<i8", "quiet": "<i8", "day": "<i4", "fired": "|i1", "mark": "<i4"}
"""Of every rule that remembers: its state at the last border, the border (ms) since which it holds, the border (ms) at
which it ended last, the UTC day of its last firings and how many these were, and what its kind has to remember."""
NEVER = -1
_EMPTY = {"since": NEVER, "quiet": NEVER, "day": NEVER}


class Orphan(NamedTuple):
    """An open alert of a rule that the policy does not have any more."""

    rule: str
    began: int


class AlertState:
    """The alerts of one partition's accounts, for R rules of which M remember borders."""

    def __init__(self, rules: Sequence[RulePlan]) -> None:
        """Empty."""
        self.rules = tuple(rules)
        self.memories = tuple(part for part in rules if part.memory >= 0)
        self.phase = np.zeros((0, len(rules)), dtype=np.int8)
        self.began = np.zeros((0, len(rules)), dtype=np.int64)
        self.ended = np.zeros((0, len(rules)), dtype=np.int64)
        self.flaps = np.zeros((0, len(rules)), dtype=np.int16)
        self.stormy = np.zeros((0, len(rules)), dtype=np.int8)
        count = len(self.memories)
        self.held = np.zeros((0, count), dtype=np.int8)
        self.since = np.zeros((0, count), dtype=np.int64)
        self.quiet = np.zeros((0, count), dtype=np.int64)
        self.day = np.zeros((0, count), dtype=np.int32)
        self.fired = np.zeros((0, count), dtype=np.int8)
        self.mark = np.zeros((0, count), dtype=np.int32)
        self.peaks: dict[int, PaneColumn] = {}
        """By place among the memories, of drops: the score at each of the last borders."""
        for part in self.memories:
            if part.rule.kind == "drop" and part.rule.within is not None:
                window = part.rule.within
                name = f"alert/{part.memory_name}/peaks"
                self.peaks[part.memory] = PaneColumn(name, window.unit, window.panes, "max")
        self.orphans: dict[int, list[Orphan]] = {}

    def _arrays(self) -> list[tuple[str, str, int, str]]:
        """Field of a row, array, its column and type."""
        told = [(part.name, at, TOLD) for at, part in enumerate(self.rules)]
        held = [(part.memory_name, part.memory, HELD) for part in self.memories]
        return [
            (f"alert/{rule}/{array}", array, at, kind)
            for rule, at, arrays in (*told, *held)
            for array, kind in arrays.items()
        ]

    def restart(self, passed_ms: int) -> None:
        """Let the rings of scores end at the last border that any row has passed, before rows are loaded."""
        for ring in self.peaks.values():
            ring.advance(passed_ms)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        for name in (*TOLD, *HELD):
            old = getattr(self, name)
            fresh = np.full((capacity, old.shape[1]), _EMPTY.get(name, 0), dtype=old.dtype)
            fresh[: len(old)] = old
            setattr(self, name, fresh)
        for ring in self.peaks.values():
            ring.grow(capacity)

    def fields(self) -> list[tuple[str, Any] | Field]:
        """The fields of a row."""
        found: list[tuple[str, Any] | Field] = [(field, kind) for field, _, _, kind in self._arrays()]
        for ring in self.peaks.values():
            found += [(name, dtype.str, shape) for name, dtype, shape in ring.fields()]
        return found

    def save(self, rows: Rows, record: NDArray[np.void]) -> None:
        """Copy rows into a record."""
        for field, array, at, _ in self._arrays():
            record[field] = getattr(self, array)[rows, at]
        for ring in self.peaks.values():
            ring.save(rows, record)

    def load(
        self,
        rows: Rows,
        record: NDArray[np.void],
        passed_ms: NDArray[np.int64],
        bands: Mapping[str, Sequence[str]],
    ) -> None:
        """Take rows of any layout by field name.

        `passed_ms` (k,) are the last borders they have passed, `bands` (by score) those that band numbers mean.
        """
        names = record.dtype.names or ()
        for field, array, at, _ in self._arrays():
            if field in names:
                getattr(self, array)[rows, at] = record[field]
        for ring in self.peaks.values():
            ring.load(rows, record, passed_ms)
        self._load_bands(rows, record, bands)
        mine = {part.name for part in self.rules}
        for field in names:
            head, _, rest = field.partition("/")
            rule, _, what = rest.rpartition("/")
            if head == "alert" and what == "phase" and rule not in mine:
                self._orphan(rows, is_open(record[field]), rule, record[f"alert/{rule}/began"])

    def _load_bands(self, rows: Rows, record: NDArray[np.void], bands: Mapping[str, Sequence[str]]) -> None:
        """Rows from before rules had names kept the band that fires, a number for each score, and since when."""
        names = set(record.dtype.names or ())
        places = {part.name: at for at, part in enumerate(self.rules)}
        for score, known in bands.items():
            if f"alert_band/{score}" not in names:
                continue
            for number, band in enumerate(known):
                inside, rule = record[f"alert_band/{score}"] == number, f"band:{score}:{band}"
                began = record[f"alert_ms/{score}"]
                if rule in places:
                    self.phase[rows[inside], places[rule]] = Phase.FIRING
                    self.began[rows[inside], places[rule]] = began[inside]
                else:
                    self._orphan(rows, inside, rule, began)

    def _orphan(self, rows: Rows, which: NDArray[np.bool_], rule: str, began: NDArray[np.int64]) -> None:
        for row, began_ms in zip(rows[which].tolist(), began[which].tolist(), strict=True):
            self.orphans.setdefault(row, []).append(Orphan(rule, began_ms))

    def nbytes(self) -> int:
        """Bytes of memory held."""
        arrays = sum(int(getattr(self, name).nbytes) for name in (*TOLD, *HELD))
        return arrays + sum(ring.nbytes() for ring in self.peaks.values())
