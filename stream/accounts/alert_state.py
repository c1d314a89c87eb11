"""Alert state of every account: one array for each field, one row for each account, one column for each rule.

Owns the arrays and their fields in a changelog row; a field's name contains the rule's, so that state migrates by name
when rules are added, removed or reordered. The meaning of phases is in `stream.accounts.alert_lifecycle`;
`stream.alerts.emission` and `stream.alerts.boundary_state` change them. A part of `stream.accounts.accounts.Accounts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.accounts.alert_lifecycle import Phase, is_open
from stream.columns.columns import PaneColumn, Rows
from stream.columns.growth import stretch
from stream.plan.rules import RulePlan

Field = tuple[str, Any, tuple[int, ...]]

# Arrays of `AlertState`, the last part of their field in a changelog row (a wire name), and their type.
PUBLISHED_FIELDS = {
    "phase": ("phase", "|i1"),
    "began": ("began", "<i8"),
    "ended": ("ended", "<i8"),
    "flaps": ("flaps", "<i2"),
    "in_storm": ("stormy", "|i1"),
}
"""Arrays with a column for each rule."""
BOUNDARY_FIELDS = {
    "boundary_phase": ("held", "|i1"),
    "true_since": ("since", "<i8"),
    "boundary_ended": ("quiet", "<i8"),
    "fired_day": ("day", "<i4"),
    "fired_count": ("fired", "|i1"),
    "kind_state": ("mark", "<i4"),
}
"""Arrays with a column for each rule that has boundary state."""
NEVER = -1
_EMPTY = {"true_since": NEVER, "boundary_ended": NEVER, "fired_day": NEVER}


class RemovedRuleAlert(NamedTuple):
    """An open alert of a rule that the policy does not have any more, and since when (epoch ms) it is open."""

    rule: str
    began: int


class AlertState:
    """The alerts of one partition's accounts, for R rules of which B have boundary state; times are epoch ms."""

    phase: NDArray[np.int8]
    """Published phase, (capacity, R)."""
    began: NDArray[np.int64]
    """When the last episode began; 0 for never."""
    ended: NDArray[np.int64]
    """When the last episode was resolved; 0 for never."""
    flaps: NDArray[np.int16]
    """Flaps in a row."""
    in_storm: NDArray[np.int8]
    """1 if the episode began in a storm, so that the storm's digest notifies of it."""

    boundary_phase: NDArray[np.int8]
    """Phase at the last boundary, (capacity, B)."""
    true_since: NDArray[np.int64]
    """The boundary since which the condition has been true; -1 while it is false."""
    boundary_ended: NDArray[np.int64]
    """The boundary at which the rule ended last; -1 for never."""
    fired_day: NDArray[np.int32]
    """The UTC day of the last firing; -1 for never."""
    fired_count: NDArray[np.int8]
    """Number of firings on that day."""
    kind_state: NDArray[np.int32]
    """`left`: 1 if the account was in the band; `forecast`: the day on which it enters the band, 0 for none."""

    def __init__(self, rules: Sequence[RulePlan]) -> None:
        """Empty."""
        self.rules = tuple(rules)
        self.boundary_rules = tuple(rule_plan for rule_plan in rules if rule_plan.boundary_index >= 0)
        for name, (_, dtype) in PUBLISHED_FIELDS.items():
            setattr(self, name, np.zeros((0, len(self.rules)), dtype=dtype))
        for name, (_, dtype) in BOUNDARY_FIELDS.items():
            setattr(self, name, np.zeros((0, len(self.boundary_rules)), dtype=dtype))
        self.past_scores: dict[int, PaneColumn] = {}
        """Scores at the last boundaries, which `drop` rules compare with, by `boundary_index`."""
        for rule_plan in self.boundary_rules:
            if rule_plan.rule.kind == "drop" and rule_plan.rule.within is not None:
                window = rule_plan.rule.within
                name = f"alert/{rule_plan.boundary_name}/peaks"
                self.past_scores[rule_plan.boundary_index] = PaneColumn(
                    name, window.pane, window.panes, "max", rule_plan.calendar
                )
        self.removed_rule_alerts: dict[int, list[RemovedRuleAlert]] = {}
        """Loaded alerts that have to be resolved, by row."""

    def _saved(self) -> list[tuple[str, str, int, str]]:
        """Field of a row, array, column of the array, and type."""
        published = [(rule_plan.name, index, PUBLISHED_FIELDS) for index, rule_plan in enumerate(self.rules)]
        boundary = [(plan.boundary_name, plan.boundary_index, BOUNDARY_FIELDS) for plan in self.boundary_rules]
        return [
            (f"alert/{rule}/{field}", array, column, dtype)
            for rule, column, fields in (*published, *boundary)
            for array, (field, dtype) in fields.items()
        ]

    def advance_rings(self, boundary_ms: int) -> None:
        """Move `past_scores` to the last boundary that any row has passed; call it before rows are loaded."""
        for ring in self.past_scores.values():
            ring.advance(boundary_ms)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        for name in (*PUBLISHED_FIELDS, *BOUNDARY_FIELDS):
            setattr(self, name, stretch(getattr(self, name), capacity, _EMPTY.get(name, 0)))
        for ring in self.past_scores.values():
            ring.grow(capacity)

    def clear(self, row: int) -> None:
        """Forget all alerts of a row."""
        for name in (*PUBLISHED_FIELDS, *BOUNDARY_FIELDS):
            getattr(self, name)[row] = _EMPTY.get(name, 0)
        for ring in self.past_scores.values():
            ring.clear(row)
        self.removed_rule_alerts.pop(row, None)

    def fields(self) -> list[tuple[str, Any] | Field]:
        """The fields of a changelog row: name, type and, for rings, shape."""
        fields: list[tuple[str, Any] | Field] = [(field, dtype) for field, _, _, dtype in self._saved()]
        for ring in self.past_scores.values():
            fields += [(name, dtype.str, shape) for name, dtype, shape in ring.fields()]
        return fields

    def save(self, rows: Rows, record: NDArray[np.void]) -> None:
        """Copy rows into the fields of `record` (k,)."""
        for field, array, column, _ in self._saved():
            record[field] = getattr(self, array)[rows, column]
        for ring in self.past_scores.values():
            ring.save(rows, record)

    def load(
        self,
        rows: Rows,
        record: NDArray[np.void],
        passed_ms: NDArray[np.int64],
        bands: Mapping[str, Sequence[str]],
    ) -> None:
        """Fill rows from `record` (k,) of any row schema, by field name.

        `passed_ms` (k,) are the boundaries up to which their boundary state is complete, `bands` (by score) the names
        of the record's band numbers.
        """
        names = record.dtype.names or ()
        for field, array, column, _ in self._saved():
            if field in names:
                getattr(self, array)[rows, column] = record[field]
        for ring in self.past_scores.values():
            ring.load(rows, record, passed_ms)
        self._load_band_alerts(rows, record, bands)
        current = {rule_plan.name for rule_plan in self.rules}
        for field in names:
            head, _, rest = field.partition("/")
            rule, _, array = rest.rpartition("/")
            if head == "alert" and array == "phase" and rule not in current:
                self._add_removed(rows, is_open(record[field]), rule, record[f"alert/{rule}/began"])

    def _load_band_alerts(self, rows: Rows, record: NDArray[np.void], bands: Mapping[str, Sequence[str]]) -> None:
        """Rows older than named rules have, for each score, the number of the band that fires, and since when."""
        names = set(record.dtype.names or ())
        columns = {rule_plan.name: column for column, rule_plan in enumerate(self.rules)}
        for score, saved_bands in bands.items():
            if f"alert_band/{score}" not in names:
                continue
            for number, band in enumerate(saved_bands):
                inside, rule = record[f"alert_band/{score}"] == number, f"band:{score}:{band}"
                began = record[f"alert_ms/{score}"]
                if rule in columns:
                    self.phase[rows[inside], columns[rule]] = Phase.FIRING
                    self.began[rows[inside], columns[rule]] = began[inside]
                else:
                    self._add_removed(rows, inside, rule, began)

    def _add_removed(self, rows: Rows, selected: NDArray[np.bool_], rule: str, began: NDArray[np.int64]) -> None:
        for row, began_ms in zip(rows[selected].tolist(), began[selected].tolist(), strict=True):
            self.removed_rule_alerts.setdefault(row, []).append(RemovedRuleAlert(rule, began_ms))

    def nbytes(self) -> int:
        """Bytes of memory of the arrays."""
        arrays = sum(int(getattr(self, name).nbytes) for name in (*PUBLISHED_FIELDS, *BOUNDARY_FIELDS))
        return arrays + sum(ring.nbytes() for ring in self.past_scores.values())
