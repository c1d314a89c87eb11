"""Where a step is cut: after peer tables, and after controls that erase or merge an account.

What lies before such a record in merged order is applied before it, and what lies after it after it. Called by
`stream.engine.engine`, and by `agents.worker.tasks.processor`, which saves a merge before it applies what comes next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, cast

import numpy as np

from schemas.events import CONTROL_SOURCE, ControlEvent
from schemas.peers import PeersMessage
from schemas.sources import PEERS_INPUT, Sources
from stream.ingest.batch import ERASE, MERGE, Batch, kind_of


class Cut(NamedTuple):
    """A record after which a step is cut: a peer table, or a control that erases or merges an account."""

    stamp: int
    source_index: int
    offset: int
    table: PeersMessage | None = None
    erases: str | None = None
    merges: str | None = None
    """The account that it merges into another one; None where it brings the state of one that was merged."""


class Substep(NamedTuple):
    """Batches of a step with their numbers in the step, up to and with the record of `cut`; the last one has none."""

    batches: list[tuple[int, Batch]]
    cut: Cut | None


def cuts_of(batches: Sequence[Batch], sources: Sources) -> list[Cut]:
    """Where a step is cut, in merged order: nearly always nowhere."""
    cuts = []
    for batch in batches:
        if batch.source == PEERS_INPUT:
            tables = zip(
                cast("list[PeersMessage]", batch.events), batch.stamps.tolist(), batch.offsets.tolist(), strict=False
            )
            cuts += [Cut(stamp, sources.index[batch.input], offset, table=table) for table, stamp, offset in tables]
        elif batch.source == CONTROL_SOURCE:
            cutting = [index for index, event in enumerate(batch.events) if kind_of(event) in {ERASE, MERGE}]
            stamps = np.maximum.accumulate(batch.stamps) if cutting else batch.stamps
            for index in cutting:
                control = cast("ControlEvent", batch.events[index])
                cuts.append(
                    Cut(
                        int(stamps[index]),
                        sources.index[batch.input],
                        int(batch.offsets[index]),
                        erases=control.account_id.strip() if control.kind == ERASE else None,
                        merges=control.account_id.strip() if _merges(control) else None,
                    )
                )
    return sorted(cuts, key=lambda cut: cut[:3]) if len(cuts) > 1 else cuts


def _merges(control: ControlEvent) -> bool:
    return control.kind == MERGE and control.merged is None


def split_at(batches: Sequence[Batch], cuts: Sequence[Cut], sources: Sources) -> list[Substep]:
    """Cut a step, in the order of the log. At equal record times a peer table comes after events and profiles."""
    rest = [(number, batch) for number, batch in enumerate(batches) if batch.source != PEERS_INPUT]
    substeps = []
    for cut in cuts:
        before, rest = _split(rest, cut, sources)
        substeps.append(Substep(before, cut))
    return [*substeps, Substep(rest, None)]


def until_merge(batches: Sequence[Batch], sources: Sources) -> tuple[list[Batch], list[Batch]]:
    """The batches up to and with a control that merges an account, and those after it: usually none.

    It is the last control before which no record comes that is of an account that another one has merged: what becomes
    of such a record is decided when that merge is saved. So many merges are saved by one commit.
    """
    cuts = [cut for cut in cuts_of(batches, sources) if cut.merges is not None]
    if not cuts:
        return list(batches), []
    count = min(_count_before_conflict(batch, cuts, sources) for batch in batches)
    before, after = _split(list(enumerate(batches)), cuts[count - 1], sources)
    return [batch for _, batch in before], [batch for _, batch in after]


def _count_before_conflict(batch: Batch, cuts: Sequence[Cut], sources: Sources) -> int:
    """How many of these merges come before the first record of a batch that is of an account merged before it."""
    if batch.source == PEERS_INPUT:
        return len(cuts)
    counts = np.array([_count_until(batch, cut, sources) for cut in cuts])
    merged_by: dict[str | None, int] = {}
    for number, cut in enumerate(cuts):
        merged_by.setdefault(cut.merges, number)
    count = len(cuts)
    for index, event in enumerate(batch.events):
        number = merged_by.get(event.account_id.strip(), count)
        if number < count and index >= counts[number]:
            after = np.flatnonzero(counts[number + 1 : count] > index)
            count = number + 1 + int(after[0]) if len(after) else count
    return count


def _split(
    batches: Sequence[tuple[int, Batch]], cut: Cut, sources: Sources
) -> tuple[list[tuple[int, Batch]], list[tuple[int, Batch]]]:
    """The records up to and with that of a cut, and those after it."""
    before, after = [], []
    for number, batch in batches:
        count = _count_until(batch, cut, sources)
        if count == len(batch.offsets):
            before.append((number, batch))
        elif count:
            first_after = int(batch.offsets[count])
            before.append((number, batch.before(first_after)))
            after.append((number, batch.since(first_after)))
        else:
            after.append((number, batch))
    # An input can have several batches: none of them says that records of another one are settled.
    ends: dict[str, int] = {}
    for _, batch in after:
        first = int(batch.offsets[0])
        ends[batch.input] = min(first, ends.get(batch.input, first))
    before = [
        (number, replace(batch, end=min(batch.end, ends.get(batch.input, batch.end)))) for number, batch in before
    ]
    return before, after


def positions_after(positions: Mapping[str, int], batches: Iterable[Batch]) -> dict[str, int]:
    """The offsets by source after batches, given those before."""
    after = dict(positions)
    for batch in batches:
        after[batch.input] = max(after[batch.input], batch.end)
    return after


def _count_until(batch: Batch, cut: Cut, sources: Sources) -> int:
    """How many records of a batch are not after the record of a cut, in merged order."""
    source_index = sources.index[batch.input]
    if source_index == cut.source_index:
        return int(np.searchsorted(batch.offsets, cut.offset, side="right"))
    side: Literal["left", "right"] = "right" if source_index < cut.source_index else "left"
    return int(np.searchsorted(np.maximum.accumulate(batch.stamps), cut.stamp, side=side))
