"""The history record of a changelog: which panes the columns keep, and since when those that miss events have all.

Owns record `h` and what a restore concludes from it. It is written before the rows and pages that a policy has written,
so that it describes the narrowest that they may be. Rows of versions before it say less: then a measure counts as
incomplete where its history is not known. Called by `stream.recovery.changelog`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from schemas.codecs import encode
from stream.columns.columns import LatestColumn, PaneColumn
from stream.columns.facts import FactColumn
from stream.columns.panes import UNIT_MS, Unit, date_text
from stream.engine.engine import Engine
from stream.measures.base import AnyColumn
from stream.recovery.saved_rows import SavedRows
from stream.scoring.history import kept_by_latest

HISTORY_KEY = b"h"


class HistoryRecord(msgspec.Struct, omit_defaults=True):
    """The value of the record, as JSON.

    `policy` is the label of the policy that writes rows now, `after` that of the state that was saved before: the state
    of a version that does not write this record has another label. `windows` has the panes that each column keeps,
    `since` (epoch ms) the columns that miss events, `sources` (epoch ms) the sources whose earlier records were gone
    when the state was rebuilt.
    """

    policy: str
    after: str
    windows: dict[str, int]
    since: dict[str, int]
    sources: dict[str, int] = {}

    def since_of(self, column: str, source: str) -> list[int]:
        """Since when a column of a source has all events (epoch ms), by column and by source, as far as it says so."""
        return [times[name] for name, times in ((column, self.since), (source, self.sources)) if name in times]


def history_record(engine: Engine) -> tuple[bytes, bytes] | None:
    """The record to write before rows and pages, or None if it is as it was written last."""
    label, history = engine.plan.label, engine.history
    value = encode(HistoryRecord(label, history.saved_policy or label, history.kept_panes(), history.since))
    history.saved_policy = label
    if value == history.written:
        return None
    history.written = value
    return HISTORY_KEY, value


def restore_history(
    engine: Engine,
    record: bytes | None,
    policy: str | None,
    rows: Iterable[SavedRows],
    *,
    added: Collection[str] = (),
) -> None:
    """Find out which columns of a restored engine miss events, from the record and the schemas of rows.

    `policy` is the label of the policy that the state was saved under; each of `rows` has events. `added` are the
    sources that the state has no position of: all their events are still to be read.

    Call it when stream time and peer tables are restored.
    """
    history, label, saved_rows = engine.history, engine.plan.label, list(rows)
    history.saved_policy = policy
    saved = None if record is None else msgspec.json.decode(record, type=HistoryRecord)
    if saved is not None and policy not in (None, saved.policy, saved.after):
        saved = None  # a version that does not write the record has saved since
    if saved is not None and saved.policy == label:
        history.written = record
    panes = history.kept_panes()
    for column_plan, column in zip(engine.plan.columns, engine.columns, strict=True):
        if isinstance(column, FactColumn):
            continue
        name, by_rows = column_plan.name, [_kept_by_rows(rows, column) for rows in saved_rows]
        for since_ms in () if saved is None else saved.since_of(name, column_plan.source):
            history.require(name, since_ms)
        if column.newest is None or column_plan.source in added:
            continue
        # Rings of panes in rows count always: a commit of another policy may have ended in the middle of the rows.
        before = by_rows if isinstance(column, PaneColumn) else []
        if saved is not None and saved.policy != label:
            before = [*before, saved.windows.get(name, 0)]
        elif saved is None and policy not in (None, label):
            before = by_rows
        least = min(before, default=panes[name])
        # By panes and not by their number: the ring of an idle source ends at its clock, that of another one does not.
        saved_ms = _moment_ms(saved_rows, column_plan.source, engine.as_of or 0)
        first = column.calendar.pane_of(saved_ms, column.unit) - least + 1
        if saved_rows and first > column.newest - panes[name] + 1:
            history.require(name, column.calendar.start_ms(first, column.unit))
    history.detect(engine.peers.as_of_ms)


class SavedHistory(NamedTuple):
    """What a partition says of its history: its record, the label of the policy of its state, and if it has rows."""

    record: bytes | None
    policy: str | None
    has_rows: bool


def united_history(partitions: Sequence[SavedHistory]) -> bytes | None:
    """The record of a partition that gets rows from these; None if none of them has one.

    It claims of a column what is true of all rows: the latest `since` and the fewest panes.
    """
    known = []
    for partition in partitions:
        saved = None if partition.record is None else msgspec.json.decode(partition.record, type=HistoryRecord)
        if saved is not None and partition.policy in (None, saved.policy, saved.after):
            known.append(saved)
        elif partition.has_rows:  # a version that does not write the record has saved last
            known.append(HistoryRecord(partition.policy or "", partition.policy or "", {}, {}))
    if not any(saved.windows or saved.since or saved.sources for saved in known):
        return None
    policies = sorted({saved.policy for saved in known})
    after = next((partition.policy for partition in partitions if partition.policy is not None), known[0].after)
    windows = {
        name: min(saved.windows[name] for saved in known)
        for name in known[0].windows
        if all(name in saved.windows for saved in known)
    }
    # Two labels are no policy's label: then the panes count for every policy.
    united = HistoryRecord(" ".join(policies), after, windows, _latest(saved.since for saved in known))
    united.sources = _latest(saved.sources for saved in known)
    return encode(united)


def rebuilt_history(sources: Mapping[str, int]) -> list[tuple[bytes, bytes]]:
    """The record of a partition without rows whose sources have no records from before these times (epoch ms)."""
    return [(HISTORY_KEY, encode(HistoryRecord("", "", {}, {}, dict(sources))))] if sources else []


def _latest(times: Iterable[Mapping[str, int]]) -> dict[str, int]:
    latest: dict[str, int] = {}
    for by_name in times:
        for name, since_ms in by_name.items():
            latest[name] = max(since_ms, latest.get(name, since_ms))
    return latest


def _moment_ms(rows: Iterable[SavedRows], source: str, as_of_ms: int) -> int:
    """The time (epoch ms) that the panes of a source were saved at: its clock if it can go idle, else stream time."""
    times = [saved.saved_ms(source) for saved in rows]
    return max((saved_ms for saved_ms in times if saved_ms is not None), default=as_of_ms)


def _kept_by_rows(rows: SavedRows, column: AnyColumn) -> int:
    """How many panes rows have of a column; 0 if none or if it is not known."""
    rings = {name.rpartition("#")[0]: rows.row_schema.dtype[name].shape for name in rows.names if "#" in name}
    if isinstance(column, PaneColumn):
        return rings[column.name][0] if column.name in rings else 0
    if not isinstance(column, LatestColumn) or f"{column.name}/time" not in rows.names:
        return 0
    longest: dict[Unit, int] = {}
    for name, (panes, *_) in rings.items():
        unit: Unit | None = _unit_of(name)
        if unit is not None:
            longest[unit] = max(longest.get(unit, 0), panes)
    return kept_by_latest(longest, column.unit)


def _unit_of(name: str) -> Unit | None:
    """The unit of a column of panes, the last entry of its name; None for another ring."""
    return "hour" if name.endswith('"hour"]') else "day" if name.endswith('"day"]') else None


def incomplete_texts(engine: Engine) -> dict[str, str]:
    """What is missing of each measure whose window is not full, for the log."""
    history, texts = engine.history, {}
    for name, since_ms in history.incomplete:
        plan = next(plan for plan in engine.plan.measures if plan.measure.name == name)
        leaves = [leaf.measure for leaf in plan.leaves]
        measure = max(leaves, key=lambda leaf: leaf.reach * UNIT_MS[leaf.window.pane])
        span = f"{measure.reach} {measure.window.pane}{'' if measure.reach == 1 else 's'}"
        full = date_text(history.full_at(name))
        texts[name] = f"has all events since {date_text(since_ms)}: the {span} that it looks back are full at {full}"
    return texts
