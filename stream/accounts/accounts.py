"""The accounts of one partition: row numbers, fences, baselines, and their form in the changelog.

Owns what every account has whatever the policy: position in the log (fences, events applied), what was last
published, band and alert state, profile. Columns of the policy are beside it, in `stream.columns.columns`. Called by
`stream.engine.engine`.

A changelog row is one record: version byte, hash of the layout, the fixed fields, then the profile as JSON, and after
newlines the override and what people said of alerts. The layout itself is a record too, so that rows of another policy
or version are read by field name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.codecs import encode, instant_ms
from schemas.events import SOURCES, ControlEvent, ProfileEvent
from stream.accounts.acknowledgements import Acknowledgements
from stream.accounts.alert_state import AlertState
from stream.columns.columns import NEVER, FactColumn, LatestColumn, PaneColumn, Rows
from stream.columns.row_schema import VERSION, Bands, RowSchema
from stream.measures.base import AnyColumn
from stream.plan.models import ScorePlan
from stream.plan.rules import RulePlan
from stream.plan.segments import Segmenter, fact

ROW_SOURCES = (*SOURCES, "inbox")
NO_BAND = -1
_BETWEEN = b"\n"  # JSON without spaces has none


class AccountIndex(dict[str, int]):
    """Account id to row; a new id gets the next row, or -1 when it belongs to another partition."""

    def __init__(self, owns: Callable[[str], bool]) -> None:
        """`owns` tells whether an account's key hashes to this partition."""
        super().__init__()
        self.names: list[str] = []
        self._keys: list[bytes] = []
        self._owns = owns

    def __missing__(self, account: str) -> int:
        """Give a row."""
        if not self._owns(account):
            return -1
        row = len(self.names)
        self[account] = row
        self.names.append(account)
        self._keys.append(account.encode())
        return row

    def keys_of(self, rows: Rows) -> list[bytes]:
        """Record key (the id's bytes) of each row."""
        return list(map(self._keys.__getitem__, rows.tolist()))

    def adopt(self, keys: Sequence[bytes]) -> Rows:
        """Row of each account, by record keys of accounts that are known to be ours, int64 (len(keys),)."""
        accounts = list(map(bytes.decode, keys))
        fresh = {account: key for account, key in zip(accounts, keys, strict=True) if account not in self}
        first = len(self.names)
        self.update(zip(fresh, range(first, first + len(fresh)), strict=True))
        self.names.extend(fresh)
        self._keys.extend(fresh.values())
        return self.rows(accounts)

    def rows(self, accounts: Sequence[str]) -> Rows:
        """Row of each account, int64 (len(accounts),)."""
        return np.fromiter(map(self.__getitem__, accounts), dtype=np.int64, count=len(accounts))


class Accounts:
    """One array a field, one row an account."""

    def __init__(
        self,
        measures: int,
        scores: Sequence[ScorePlan],
        columns: Sequence[AnyColumn],
        owns: Callable[[str], bool],
        segmenter: Segmenter | None = None,
        *,
        rules: Sequence[RulePlan] = (),
        source_of: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        """Empty; `measures` is how many the policy has, `source_of` has those columns' sources that can stall."""
        self.alerts = AlertState(rules)
        self.acknowledgements = Acknowledgements(part.name for part in rules)
        self._source_of = source_of
        self.index = AccountIndex(owns)
        self.profiles: dict[int, ProfileEvent] = {}
        self.children: set[int] = set()
        """Accounts that have a parent."""
        self.overrides: dict[int, ControlEvent] = {}
        """The current override of each row, or the control that cleared it, until its end is published."""
        self.ended_overrides: dict[int, ControlEvent] = {}
        """The latest control of each row whose override has ended, for as long as an older override can arrive."""
        self.segmenter = segmenter
        self._columns = columns
        self._facts = [column for column in columns if isinstance(column, FactColumn)]
        self._capacity = 0
        count = len(scores)
        self.applied = np.zeros(0, dtype=np.int64)
        self.last_ms = np.full(0, NEVER, dtype=np.int64)
        self.applied_offsets = np.full((0, len(ROW_SOURCES)), -1, dtype=np.int64)
        self.profile_version = np.zeros(0, dtype=np.int64)
        self.override_published = np.zeros(0, dtype=np.uint64)
        self.boundary_passed = np.full(0, -1, dtype=np.int64)
        """The last border (ms) that each row's memory (`sticky_band`, held alerts) has taken in."""
        # What was last said, a column a score; what it was made of, side by side (`parts_of` tells whose is where).
        self.last_published_score = np.zeros((0, count))
        self.last_published_band = np.full((0, count), NO_BAND, dtype=np.int8)
        # What policies with memory hold to (see `stream.scoring.hysteresis`).
        self.sticky_band = np.full((0, count), NO_BAND, dtype=np.int8)
        self.due_since = np.full((0, count), -1, dtype=np.int64)
        # The day of the next change of band as of the last midnight (0: none is ahead), the band and score then.
        self.next_band_day = np.zeros((0, count), dtype=np.int32)
        self.next_band = np.full((0, count), NO_BAND, dtype=np.int8)
        self.next_band_score = np.zeros((0, count))
        self.forecast_day = np.zeros((0, count), dtype=np.int32)
        """The day as of which that was looked for; 0: not yet under this policy."""
        self.last_published_parts = np.zeros((0, sum(len(score.parts) for score in scores)))
        # Known from the columns: computed anew after recovery, never saved.
        self.values = np.full((0, measures), np.nan)
        self.score = np.zeros((0, count))
        self.band = np.full((0, count), NO_BAND, dtype=np.int8)
        self.segment = np.full(0, NO_BAND, dtype=np.int8)
        self.dirty = np.zeros(0, dtype=bool)
        self.score_pending = np.zeros(0, dtype=bool)
        self.on_time = np.zeros(0, dtype=bool)
        self.changed = np.zeros(0, dtype=bool)
        self.pulse = np.zeros(0, dtype=bool)
        self.policy_changed = np.zeros((0, count), dtype=bool)
        self.scores = tuple(scores)
        self._bands = {part.score.name: [band.name for band in part.score.bands] for part in scores}
        ends = np.cumsum([len(part.parts) for part in scores]).tolist()
        self.parts_of = [slice(end - len(part.parts), end) for part, end in zip(scores, ends, strict=True)]
        """Which columns of `last_published_parts` are a score's."""

    def _by_score(self) -> list[tuple[str, str, int, str]]:
        """Field of a row, array, column of the array and type, of everything kept for each score."""
        found = []
        for at, part in enumerate(self.scores):
            name = part.score.name
            found += [(f"{field}/{name}", array, at, kind) for field, (array, kind) in _SAVED_BY_SCORE.items()]
            if part.remembers:
                found += [(f"held_band/{name}", "sticky_band", at, "|i1"), (f"due_ms/{name}", "due_since", at, "<i8")]
            if part.score.forecast_days:
                found += [(f"{field}/{name}", array, at, kind) for field, (array, kind) in _FORECAST.items()]
            start = self.parts_of[at].start
            found += [
                (f"base_parts/{name}/{label}", "last_published_parts", start + place, "<f8")
                for place, label in enumerate(part.parts)
            ]
        return found

    def row_schema(self) -> RowSchema:
        """The layout of a row written now; it changes when a column widens."""
        fixed: list[tuple[object, ...]] = [("version", "|u1"), ("layout", "|V8"), ("as_of", "<i8"), ("applied", "<i8")]
        fixed += [("last_ms", "<i8"), ("override_told", "<u8"), ("learned", "<i8"), ("passed", "<i8")]
        fixed += [(f"fence/{name}", "<i8") for name in ROW_SOURCES]
        fixed += [(f"clock/{source}", "<i8") for source in sorted(set(self._source_of.values()))]
        fixed += [(field, kind) for field, _, _, kind in self._by_score()]
        fixed += self.alerts.fields()
        for column in self._columns:
            if isinstance(column, PaneColumn | LatestColumn):
                fixed += [(name, dtype.str, shape) for name, dtype, shape in column.fields()]
        return RowSchema.of(fixed, self._bands)

    def __len__(self) -> int:
        """Rows given so far."""
        return len(self.index.names)

    def alive(self) -> Rows:
        """Rows of accounts that have at least one applied event."""
        return np.flatnonzero(self.applied[: len(self)] > 0)

    def reserve(self) -> None:
        """Make room for every row that has been given."""
        if len(self) <= self._capacity:
            return
        capacity = max(64, len(self), self._capacity * 3 // 2)
        for name in _ARRAYS:
            old = getattr(self, name)
            fresh = np.zeros((capacity, *old.shape[1:]), dtype=old.dtype)
            fresh[...] = _FILL.get(name, 0)
            fresh[: len(old)] = old
            setattr(self, name, fresh)
        for column in self._columns:
            column.grow(capacity)
        self.alerts.grow(capacity)
        if self.segmenter is not None:
            self.segmenter.grow(capacity)
        self._capacity = capacity

    def learn(self, row: int, profile: ProfileEvent) -> bool:
        """Take a profile unless one with a later (time, id) is known; returns whether it was taken."""
        known = self.profiles.get(row)
        if known is not None and _rank(profile) <= _rank(known):
            return False
        self.know(row, profile)
        self.profile_version[row] += 1
        self.dirty[row] = True
        if self.applied[row] and (known is None or _shown(known) != _shown(profile)):
            self.score_pending[row] = True
        return True

    def rule(self, row: int, control: ControlEvent) -> None:
        """Take an override, or its end, unless one with a later (time, id) is known."""
        known = self.overrides.get(row) or self.ended_overrides.get(row)
        if known is None or _rank(control) > _rank(known):
            self.ended_overrides.pop(row, None)
            self.overrides[row] = control

    def know(self, row: int, profile: ProfileEvent) -> None:
        """Take a profile as the one that holds for a row."""
        self.profiles[row] = profile
        if profile.parent_id is None:
            self.children.discard(row)
        else:
            self.children.add(row)
        if self.segmenter is not None:
            self.segmenter.note(row, profile)
        for column in self._facts:
            column.values[row] = fact(profile, column.name)

    def nbytes(self) -> int:
        """Bytes of memory the arrays hold, columns included; names and profiles are estimated."""
        arrays = sum(int(getattr(self, name).nbytes) for name in _ARRAYS)
        names = len(self) * 160 + len(self.profiles) * 600
        return arrays + names + self.alerts.nbytes() + sum(column.nbytes() for column in self._columns)

    def save(self, rows: Rows, as_of_ms: int, row_schema: RowSchema, clocks: Mapping[str, int]) -> list[bytes]:
        """Changelog values of rows, in order; `clocks` (ms) are those of sources that can stall."""
        record = np.zeros(len(rows), dtype=row_schema.dtype)
        record["version"] = VERSION
        record["layout"] = np.void(row_schema.digest)
        record["as_of"] = as_of_ms
        for field, array in _SAVED.items():
            record[field] = getattr(self, array)[rows]
        for at, name in enumerate(ROW_SOURCES):
            record[f"fence/{name}"] = self.applied_offsets[rows, at]
        for source in set(self._source_of.values()):
            record[f"clock/{source}"] = clocks.get(source, as_of_ms)
        for field, array, place, _ in self._by_score():
            record[field] = getattr(self, array)[rows, place]
        self.alerts.save(rows, record)
        for column in self._columns:
            if isinstance(column, PaneColumn | LatestColumn):
                column.save(rows, record)
        blob, width = record.tobytes(), row_schema.dtype.itemsize
        values = [blob[start : start + width] for start in range(0, len(rows) * width, width)]
        if self.profiles or self.overrides or self.ended_overrides or self.acknowledgements:
            for at, row in enumerate(rows.tolist()):
                values[at] += self._texts(row)
        return values

    def _texts(self, row: int) -> bytes:
        """What follows the fixed part of a row: texts, the last of them not empty."""
        profile = encode(self.profiles[row]) if row in self.profiles else b""
        control = self.overrides.get(row) or self.ended_overrides.get(row)
        override = b"" if control is None else encode(control)
        acknowledgements = self.acknowledgements.save(row) if row in self.acknowledgements else b""
        return _BETWEEN.join((profile, override, acknowledgements)).rstrip(_BETWEEN)

    def load_texts(self, row: int, texts: bytes) -> None:
        """Take what `save` put after the fixed part: the profile, the override, what people said of alerts."""
        profile, control, acknowledgements, *_ = (*texts.split(_BETWEEN), b"", b"")
        if profile:
            self.know(row, msgspec.json.decode(profile, type=ProfileEvent))
        if control:
            self.overrides[row] = msgspec.json.decode(control, type=ControlEvent)
        if acknowledgements:
            self.acknowledgements.load(row, acknowledgements)

    def load(self, rows: Rows, record: NDArray[np.void], row_schema: RowSchema) -> None:
        """Take rows of any known layout, field by field; what the record lacks keeps its empty value."""
        names = set(row_schema.dtype.names or ())
        for field, array in _SAVED.items():
            if field in names:
                getattr(self, array)[rows] = record[field]
        for at, name in enumerate(ROW_SOURCES):
            if f"fence/{name}" in names:
                self.applied_offsets[rows, at] = record[f"fence/{name}"]
        for field, array, place, _ in self._by_score():
            if field in names:
                getattr(self, array)[rows, place] = record[field]
        for at, column in enumerate(self._columns):
            if isinstance(column, PaneColumn | LatestColumn):
                clock = f"clock/{self._source_of.get(at)}"
                column.load(rows, record, record[clock if clock in names else "as_of"])
        self.alerts.load(rows, record, self.boundary_passed[rows], row_schema.bands)
        self._rename_bands(rows, row_schema.bands)

    def _rename_bands(self, rows: Rows, theirs: Bands) -> None:
        """Turn loaded band numbers of other bands into those of the same names here."""
        for at, part in enumerate(self.scores):
            saved, mine = theirs.get(part.score.name, []), self._bands[part.score.name]
            if saved != mine:
                order = {name: place for place, name in enumerate(mine)}
                table = np.array([*(order.get(name, NO_BAND) for name in saved), NO_BAND], dtype=np.int8)
                self.last_published_band[rows, at] = table[self.last_published_band[rows, at]]
                self.sticky_band[rows, at] = table[self.sticky_band[rows, at]]
                self.next_band[rows, at] = table[self.next_band[rows, at]]


# Fields of a changelog row and the arrays that they are saved from. The fields are wire names: they never change.
_SAVED = {
    "applied": "applied",
    "last_ms": "last_ms",
    "override_told": "override_published",
    "learned": "profile_version",
    "passed": "boundary_passed",
}
_SAVED_BY_SCORE = {"base_score": ("last_published_score", "<f8"), "base_band": ("last_published_band", "|i1")}
_FORECAST = {
    "turn_day": ("next_band_day", "<i4"),
    "turn_band": ("next_band", "|i1"),
    "turn_score": ("next_band_score", "<f8"),
    "looked": ("forecast_day", "<i4"),
}
_FLAGS = ("dirty", "score_pending", "on_time", "changed", "pulse", "policy_changed")
_ARRAYS = (
    *_SAVED.values(),
    *(array for array, _ in (*_SAVED_BY_SCORE.values(), *_FORECAST.values())),
    "sticky_band",
    "due_since",
    "applied_offsets",
    "last_published_parts",
    "values",
    "score",
    "band",
    "segment",
    *_FLAGS,
)
_FILL: dict[str, float] = {
    "last_ms": NEVER,
    "applied_offsets": -1,
    "last_published_band": NO_BAND,
    "boundary_passed": -1,
    "sticky_band": NO_BAND,
    "next_band": NO_BAND,
    "due_since": -1,
    "band": NO_BAND,
    "segment": NO_BAND,
    "values": np.nan,
}


def _shown(profile: ProfileEvent) -> tuple[str | None, str | None, float | None]:
    """What of a profile is told with every score."""
    return profile.segment, profile.parent_id, profile.arr if profile.parent_id else None


def _rank(event: ProfileEvent | ControlEvent) -> tuple[int, str]:
    return instant_ms(event.time), event.id
