"""The accounts of one partition: one numpy array for each field, one row for each account.

Owns the fields that every account has whatever the policy: applied offsets, the last published scores, boundary state
of bands, alert state, profile, override. The columns of the policy stand beside it, in `stream.columns`; the form in
the changelog is `stream.accounts.row_codec`. Built by `stream.engine.engine`, read and written by all rooms above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.codecs import instant_ms
from schemas.events import ControlEvent, ProfileEvent
from schemas.profiles import ended_at_ms, merge
from stream.accounts.acknowledgements import Acknowledgements
from stream.accounts.alert_state import AlertState
from stream.accounts.index import AccountIndex
from stream.accounts.merges import Merges
from stream.accounts.reasons import AlertReasons
from stream.accounts.status import NO_END, Status, is_listed
from stream.columns.columns import NEVER, Rows
from stream.columns.facts import FactColumn
from stream.columns.growth import stretch
from stream.columns.panes import UNIT_MS
from stream.measures.base import AnyColumn
from stream.measures.days_to_first import FIRST_EVENT
from stream.plan.plan import Plan
from stream.plan.segments import Segmenter, fact_of

NO_BAND = -1
UNKNOWN_FIRST = np.iinfo(np.int64).max
"""`first_ms` of an account without an event."""
_FIRST_CAPACITY = 64
_NAME_BYTES, _PROFILE_BYTES = 160, 600


class _Array(NamedTuple):
    """An array of `Accounts`: its type, the value of a new row, and what it has one column of (None: no columns)."""

    dtype: Any
    empty: float = 0
    column_per: Literal["source", "score", "part", "measure"] | None = None


ARRAYS = {
    "applied": _Array(np.int64),
    "last_ms": _Array(np.int64, NEVER),
    "applied_offsets": _Array(np.int64, -1, "source"),
    "profile_version": _Array(np.int64),
    "override_published": _Array(np.uint64),
    "boundary_passed": _Array(np.int64, -1),
    "last_published_score": _Array(np.float64, 0, "score"),
    "last_published_band": _Array(np.int8, NO_BAND, "score"),
    "last_published_parts": _Array(np.float64, 0, "part"),
    "sticky_band": _Array(np.int8, NO_BAND, "score"),
    "due_since": _Array(np.int64, -1, "score"),
    "next_band_day": _Array(np.int32, 0, "score"),
    "next_band": _Array(np.int8, NO_BAND, "score"),
    "next_band_score": _Array(np.float64, 0, "score"),
    "forecast_day": _Array(np.int32, 0, "score"),
    "fine_ms": _Array(np.int64, 0, "score"),
    "fine_score": _Array(np.float64, 0, "score"),
    "fine_parts": _Array(np.float32, 0, "part"),
    "later_ms": _Array(np.int64, 0, "score"),
    "later_score": _Array(np.float64, 0, "score"),
    "later_parts": _Array(np.float32, 0, "part"),
    "first_ms": _Array(np.int64, UNKNOWN_FIRST),
    "life_ms": _Array(np.int64, NEVER),
    "last_published_state": _Array(np.int8, 0, "score"),
    "profile_end_day": _Array(np.int64, NO_END),
    "values": _Array(np.float64, np.nan, "measure"),
    "score": _Array(np.float64, 0, "score"),
    "band": _Array(np.int8, NO_BAND, "score"),
    "segment": _Array(np.int8, NO_BAND),
    "status": _Array(np.int8, Status.UNKNOWN),
    "dirty": _Array(np.bool_),
    "score_pending": _Array(np.bool_),
    "on_time": _Array(np.bool_),
    "changed": _Array(np.bool_),
    "pulse": _Array(np.bool_),
    "times_changed": _Array(np.int32),
    "policy_changed": _Array(np.bool_, 0, "score"),
}
"""All arrays by attribute name."""


class Accounts:
    """Arrays of shape (capacity,), or (capacity, columns) where there is one column for each score, source or measure.

    Call `reserve` after the index has given rows, before the arrays are read. Times are epoch ms, days count from 1970.
    """

    applied: NDArray[np.int64]
    """Number of events applied."""
    last_ms: NDArray[np.int64]
    """The largest event time applied, `NEVER` before the first event."""
    applied_offsets: NDArray[np.int64]
    """Offset of the last record applied, a column for each of `Sources.of_rows`; -1 for none."""
    profile_version: NDArray[np.int64]
    """Number of profiles applied."""
    override_published: NDArray[np.uint64]
    """Which override was published last (see `stream.accounts.overrides`)."""
    boundary_passed: NDArray[np.int64]
    """The window boundary up to which boundary state (`sticky_band`, alerts) is complete; -1 for none."""

    last_published_score: NDArray[np.float64]
    last_published_band: NDArray[np.int8]
    last_published_parts: NDArray[np.float64]
    """Contributions of the last published scores, side by side: `parts_of[s]` are the columns of score `s`."""

    sticky_band: NDArray[np.int8]
    """The band at the last boundary, for scores with `dwell` or `leave` (see `stream.scoring.hysteresis`)."""
    due_since: NDArray[np.int64]
    """The boundary since which another band has been due; -1 for none."""

    next_band_day: NDArray[np.int32]
    """The day on which the band changes next if no event comes, as of `forecast_day`; 0 for no change ahead."""
    next_band: NDArray[np.int8]
    """That band; NO_BAND: the account has no data from that day on."""
    next_band_score: NDArray[np.float64]
    forecast_day: NDArray[np.int32]
    """The day of the last forecast; 0 for no forecast under this policy."""

    fine_ms: NDArray[np.int64]
    """When the account was last fine by each score, 0 for unknown; what an alert's reason is compared with."""
    fine_score: NDArray[np.float64]
    fine_parts: NDArray[np.float32]
    later_ms: NDArray[np.int64]
    """The reference that replaces that of `fine_ms` when it is too old (see `stream.alerts.last_fine`)."""
    later_score: NDArray[np.float64]
    later_parts: NDArray[np.float32]

    first_ms: NDArray[np.int64]
    """The smallest event time applied, `UNKNOWN_FIRST` before the first event, 0 where a row does not have it."""
    life_ms: NDArray[np.int64]
    """The largest time of an event of the account, `NEVER` before the first. Of controls only a pulse counts."""
    last_published_state: NDArray[np.int8]
    """The status that each score was last published as missing for, ACTIVE while it has a value."""
    profile_end_day: NDArray[np.int64]
    """The UTC day (since 1970) with which the profile ends the account, `NO_END` without. Not saved: the profile is."""

    values: NDArray[np.float64]
    """Measure values of the last scoring. Like the next four computed after recovery, not saved."""
    score: NDArray[np.float64]
    band: NDArray[np.int8]
    segment: NDArray[np.int8]
    status: NDArray[np.int8]
    """The status at the last scoring (see `stream.accounts.status`)."""

    dirty: NDArray[np.bool_]
    """The row differs from its changelog record."""
    changed: NDArray[np.bool_]
    """Events or profiles were applied since the row was published."""
    score_pending: NDArray[np.bool_]
    """The row's `health.scores` record is out of date."""
    on_time: NDArray[np.bool_]
    """One of the events since then was not late: the cause of a change is `event`, else `late`."""
    pulse: NDArray[np.bool_]
    """One of the events since then was a pulse: the cause of a change is `pulse`."""
    times_changed: NDArray[np.int32]
    """In how many steps while catching up events changed the row since it was published. Not saved."""
    policy_changed: NDArray[np.bool_]
    """The policy changed since the last published score: the cause of the next change is `policy`."""

    def __init__(self, plan: Plan, columns: Sequence[AnyColumn], owns: Callable[[str], bool]) -> None:
        """Empty; `columns` are the plan's, `owns` says whether an account id hashes to this partition."""
        self.plan = plan
        self.sources = plan.sources
        self.scores = plan.scores
        self.columns = columns
        self.index = AccountIndex(owns)
        self.alerts = AlertState(plan.rules)
        self.acknowledgements = Acknowledgements(rule_plan.name for rule_plan in plan.rules)
        self.alert_reasons = AlertReasons(rule_plan.name for rule_plan in plan.rules)
        self.merges = Merges()
        self.profiles: dict[int, ProfileEvent] = {}
        self.children: set[int] = set()
        """Rows of accounts that have a parent."""
        self.overrides: dict[int, ControlEvent] = {}
        """The current override of each row, or the control that cleared it, until its end is published."""
        self.ended_overrides: dict[int, ControlEvent] = {}
        """The latest control of each row whose override has ended, for as long as an older override can arrive."""
        self.erased: set[int] = set()
        """Rows that were erased since the last save; they keep their account's name until then."""
        self.before: dict[int, int] = {}
        """Of each row that was erased and has state again: events and profiles that it had when it was erased."""
        self.revision_base = 0
        """Events and profiles that erased accounts had: revisions of this partition begin after them."""
        self.segmenter = Segmenter(plan.policy.segments, plan.calendar) if plan.policy.segments else None
        facts = [column for column in columns if isinstance(column, FactColumn)]
        self._facts = [column for column in facts if column.name != FIRST_EVENT]
        self._first_events = [column for column in facts if column.name == FIRST_EVENT]
        self._capacity = 0
        ends = np.cumsum([len(score_plan.parts) for score_plan in plan.scores]).tolist()
        self.parts_of = [
            slice(end - len(score_plan.parts), end) for score_plan, end in zip(plan.scores, ends, strict=True)
        ]
        """The columns of `last_published_parts` that belong to each score."""
        sizes = {
            "source": len(plan.sources.of_rows),
            "score": len(plan.scores),
            "part": ends[-1],
            "measure": len(plan.measures) + len(plan.profile_inputs) + len(plan.peers),
        }
        for name, array in ARRAYS.items():
            shape = (0,) if array.column_per is None else (0, sizes[array.column_per])
            setattr(self, name, np.zeros(shape, dtype=array.dtype))

    def __len__(self) -> int:
        """Number of rows that the index has given."""
        return len(self.index.names)

    def unsaved(self) -> int:
        """How many rows differ from their changelog records."""
        return int(np.count_nonzero(self.dirty))

    def alive(self) -> Rows:
        """Rows of accounts that have at least one applied event, ascending, int64 (k,)."""
        return np.flatnonzero(self.applied[: len(self)] > 0)

    def by_last_day(self, rows: Rows) -> Rows:
        """Rows (k,) in the order of the days of their last events: a score reads the columns once for each such day."""
        days = self.life_ms[rows] // UNIT_MS["day"]
        ago = np.minimum(days.max(initial=0) - days, np.iinfo(np.int16).max).astype(np.int16)  # quick to sort
        return rows[np.argsort(ago, kind="stable")]

    def listed(self) -> Rows:
        """Rows of accounts that have scores, as of the last scoring, ascending, int64 (k,)."""
        return np.flatnonzero(self.are_listed())

    def are_listed(self) -> NDArray[np.bool_]:
        """Whether each account has scores, as of the last scoring, (k,)."""
        return is_listed(self.status[: len(self)])

    def status_days(self, dormant_days: int) -> NDArray[np.int64]:
        """The days (since 1970, ascending) with which accounts have no data or have ended if no event comes."""
        last_ms, ends = self.life_ms[: len(self)], self.profile_end_day[: len(self)]
        last_days = self.plan.calendar.panes_of(last_ms[last_ms != NEVER], "day")
        return np.unique(np.concatenate((last_days + dormant_days, ends[ends != NO_END])))

    def reserve(self) -> None:
        """Make room in all arrays and columns for every row that the index has given."""
        if len(self) <= self._capacity:
            return
        capacity = max(_FIRST_CAPACITY, len(self), self._capacity * 3 // 2)
        for name, array in ARRAYS.items():
            setattr(self, name, stretch(getattr(self, name), capacity, array.empty))
        for column in self.columns:
            column.grow(capacity)
        self.alerts.grow(capacity)
        if self.segmenter is not None:
            self.segmenter.grow(capacity)
        self._capacity = capacity

    def apply_profile(self, row: int, profile: ProfileEvent) -> bool:
        """Merge what a record says into the profile: the latest value of each field counts; whether it changed."""
        current = self.profiles.get(row)
        merged = merge(current, profile)
        if merged is None:
            return False
        profile = merged
        self.set_profile(row, profile)
        self.profile_version[row] += 1
        self.dirty[row] = True
        if self.applied[row] and (current is None or _published_fields(current) != _published_fields(profile)):
            self.score_pending[row] = True
        return True

    def apply_override(self, row: int, control: ControlEvent) -> None:
        """Make an override, or the control that clears it, the current one unless one with a later (time, id) is."""
        current = self.overrides.get(row) or self.ended_overrides.get(row)
        if current is None or _order(control) > _order(current):
            self.ended_overrides.pop(row, None)
            self.overrides[row] = control

    def set_profile(self, row: int, profile: ProfileEvent) -> None:
        """Make a profile the current one, whatever its time, without marking the row as changed."""
        self.profiles[row] = profile
        end_ms = ended_at_ms(profile)
        self.profile_end_day[row] = NO_END if end_ms is None else self.plan.calendar.date_of(end_ms)
        if profile.parent_id is None:
            self.children.discard(row)
        else:
            self.children.add(row)
        if self.segmenter is not None:
            self.segmenter.set_profile(row, profile)
        for column in self._facts:
            column.values[row] = fact_of(profile, column)

    def follow_first_events(self, rows: Rows) -> None:
        """Bring the columns that have the day of each account's first event to `first_ms`, for rows (k,)."""
        for column in self._first_events:
            first_ms = self.first_ms[rows]
            known = (first_ms != UNKNOWN_FIRST) & (first_ms != 0)
            column.values[rows] = np.where(known, self.plan.calendar.panes_of(first_ms, "day"), np.nan)

    def erase(self, row: int, applied_offsets: NDArray[np.int64]) -> None:
        """Forget everything of an account, and begin anew: a later event finds an empty row.

        `applied_offsets` are those of the last records before the erasure, in the order of `Sources.of_rows`: a replay
        of these records does not reach the row. Revisions go on above those that the account had.
        """
        had = int(self.applied[row] + self.profile_version[row])
        self.revision_base += had
        self.before[row] = self.before.get(row, 0) + had
        offsets = np.maximum(self.applied_offsets[row], applied_offsets)
        for name, array in ARRAYS.items():
            getattr(self, name)[row] = array.empty
        self.applied_offsets[row] = offsets
        self.clear(row)
        self.merges.pop(row)
        self.erased.add(row)

    def clear(self, row: int) -> None:
        """Forget events, profile and alerts of a row; what was published of it stays."""
        for column in self.columns:
            column.clear(row)
        self.alerts.clear(row)
        if self.segmenter is not None:
            self.segmenter.clear(row)
        self.children.discard(row)
        self.profile_end_day[row] = NO_END
        texts = (self.profiles, self.overrides, self.ended_overrides, self.acknowledgements, self.alert_reasons)
        for by_row in texts:
            by_row.pop(row, None)

    def is_empty(self, row: int) -> bool:
        """Whether a row has neither events nor a profile, nor a merge."""
        return not self.applied[row] and row not in self.profiles and row not in self.merges

    def release(self, row: int) -> None:
        """Give up the row of an erased account that has no new state."""
        self.applied_offsets[row] = -1
        self.dirty[row] = False
        self.before.pop(row, None)
        self.index.release(row)

    def nbytes(self) -> int:
        """Bytes of memory of the arrays and columns, plus an estimate for names and profiles."""
        arrays = sum(int(getattr(self, name).nbytes) for name in ARRAYS)
        texts = len(self) * _NAME_BYTES + len(self.profiles) * _PROFILE_BYTES
        return arrays + texts + self.alerts.nbytes() + sum(column.nbytes() for column in self.columns)


def _published_fields(profile: ProfileEvent) -> tuple[str | None, str | None, float | None]:
    """The fields of a profile that `health.scores` records contain."""
    return profile.segment, profile.parent_id, profile.arr if profile.parent_id else None


def _order(event: ControlEvent) -> tuple[int, str]:
    """By what the latest of several events is decided: time (epoch ms), then id."""
    return instant_ms(event.time), event.id
