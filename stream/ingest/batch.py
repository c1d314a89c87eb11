"""Batches of decoded records of one source partition, and which of their events may count.

Owns the step from events to arrays and the first checks of every record: impossible times, accounts of other
partitions, offsets already applied, repeated ids. Called by `stream.engine.engine`; batches are made by
`agents.worker.tasks.records` and `agents.files.replay`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from schemas.codecs import INVALID_FIELD, Reject, times_ms
from schemas.events import CONTROL_SOURCE, ControlEvent, Event
from schemas.peers import PeersMessage
from schemas.plausible_times import EARLIEST_MS, FUTURE_TOLERANCE_MS, refusal
from stream.accounts.accounts import ROW_SOURCES, Accounts
from stream.accounts.index import BLANK
from stream.columns.columns import Rows
from stream.columns.hash_index import BLANK_HASH, Hashes, hash_ids
from stream.ingest.event_ids import SeenIds
from stream.publishing.effects import DeadLetter, Effects, Forward

ERASE = "erase"

PEERS = "peers"
INPUT_SOURCES = (*ROW_SOURCES, PEERS)
"""Everything a partition task reads: sources with an applied offset in each row, then the peer tables."""
REPARTITION_INDEX = INPUT_SOURCES.index("inbox")


@dataclass(slots=True)
class Batch:
    """Records of one source partition, in offset order.

    `offsets` and `stamps` (record time, ms) have one entry for each of `events`; `rejects` are records that could not
    be decoded, with offsets as positions; `end` is the offset after the last record of the batch, whatever became of
    it. `repartitioned` says that the records were read from the repartition topic, so that offsets are that topic's;
    its records come as one batch a source. The events of source `PEERS` are peer tables (`PeersMessage`), cast.
    """

    source: str
    offsets: NDArray[np.int64]
    stamps: NDArray[np.int64]
    events: list[Event]
    end: int
    rejects: list[Reject] = field(default_factory=list)
    repartitioned: bool = False
    origin: object = None
    """Whatever the caller needs to find the raw records again; the engine does not read it."""

    @property
    def source_index(self) -> int:
        """Which of `INPUT_SOURCES`, and so which applied offset of a row, this batch counts for."""
        return REPARTITION_INDEX if self.repartitioned else INPUT_SOURCES.index(self.source)

    def before(self, offset: int) -> Batch:
        """The records with smaller offsets."""
        count = int(np.searchsorted(self.offsets, offset))
        rejects = [reject for reject in self.rejects if reject.position < offset]
        return replace(
            self,
            offsets=self.offsets[:count],
            stamps=self.stamps[:count],
            events=self.events[:count],
            end=offset,
            rejects=rejects,
        )

    def since(self, offset: int) -> Batch:
        """The records from this offset on."""
        count = int(np.searchsorted(self.offsets, offset))
        rejects = [reject for reject in self.rejects if reject.position >= offset]
        return replace(
            self, offsets=self.offsets[count:], stamps=self.stamps[count:], events=self.events[count:], rejects=rejects
        )


class Cut(NamedTuple):
    """A record after which a step is cut: a peer table, or a control that erases an account."""

    stamp: int
    source_index: int
    offset: int
    table: PeersMessage | None = None
    erases: str | None = None


class Substep(NamedTuple):
    """Batches of a step with their numbers in the step, up to and with the record of `cut`; the last one has none."""

    batches: list[tuple[int, Batch]]
    cut: Cut | None


def cuts_of(batches: Sequence[Batch]) -> list[Cut]:
    """Where a step is cut, in merged order: nearly always nowhere."""
    cuts = []
    for batch in batches:
        if batch.source == PEERS:
            tables = zip(
                cast("list[PeersMessage]", batch.events), batch.stamps.tolist(), batch.offsets.tolist(), strict=False
            )
            cuts += [Cut(stamp, batch.source_index, offset, table=table) for table, stamp, offset in tables]
        elif batch.source == CONTROL_SOURCE:
            erasing = [index for index, event in enumerate(batch.events) if _erases(event)]
            stamps = np.maximum.accumulate(batch.stamps) if erasing else batch.stamps
            cuts += [
                Cut(
                    int(stamps[index]),
                    batch.source_index,
                    int(batch.offsets[index]),
                    None,
                    batch.events[index].account_id.strip(),
                )
                for index in erasing
            ]
    return sorted(cuts, key=lambda cut: cut[:3]) if len(cuts) > 1 else cuts


def _erases(event: Event) -> bool:
    return isinstance(event, ControlEvent) and event.kind == ERASE


def split_at(batches: Sequence[Batch], cuts: Sequence[Cut]) -> list[Substep]:
    """Cut a step, in the order of the log. At equal record times a peer table comes after events and profiles."""
    rest = [(number, batch) for number, batch in enumerate(batches) if batch.source != PEERS]
    substeps = []
    for cut in cuts:
        before, after = [], []
        for number, batch in rest:
            count = _count_until(batch, cut)
            if count == len(batch.offsets):
                before.append((number, batch))
            elif count:
                first_after = int(batch.offsets[count])
                before.append((number, batch.before(first_after)))
                after.append((number, batch.since(first_after)))
            else:
                after.append((number, batch))
        substeps.append(Substep(before, cut))
        rest = after
    return [*substeps, Substep(rest, None)]


def positions_after(positions: Mapping[str, int], batches: Iterable[Batch]) -> dict[str, int]:
    """The offsets by source after batches, given those before."""
    after = dict(positions)
    for batch in batches:
        name = INPUT_SOURCES[batch.source_index]
        after[name] = max(after[name], batch.end)
    return after


def _count_until(batch: Batch, cut: Cut) -> int:
    """How many records of a batch are not after the record of a cut, in merged order."""
    if batch.source_index == cut.source_index:
        return int(np.searchsorted(batch.offsets, cut.offset, side="right"))
    side: Literal["left", "right"] = "right" if batch.source_index < cut.source_index else "left"
    return int(np.searchsorted(np.maximum.accumulate(batch.stamps), cut.stamp, side=side))


def refuse_unknown_bands(batch: Batch, bands: Sequence[str]) -> Batch:
    """The batch with overrides to a band that the policy does not have as rejects; `bands` are all that it has."""
    if batch.source != CONTROL_SOURCE:
        return batch
    named = [
        event.band if isinstance(event, ControlEvent) and event.kind == "override" else None for event in batch.events
    ]
    known = np.array([band is None or band in bands for band in named], dtype=bool)
    if known.all():
        return batch
    rejects = list(batch.rejects)
    for index in np.flatnonzero(~known).tolist():
        allowed = ", ".join(bands)
        message = f'{batch.source}: "{named[index]}" is not a band of the policy; allowed here: {allowed} - at `$.band`'
        rejects.append(Reject(int(batch.offsets[index]), INVALID_FIELD, message))
    events = [event for event, is_known in zip(batch.events, known.tolist(), strict=True) if is_known]
    return replace(batch, offsets=batch.offsets[known], stamps=batch.stamps[known], events=events, rejects=rejects)


@dataclass(slots=True)
class Candidates:
    """The events of a batch that may count, as arrays of shape (k,).

    `selected` are their indexes in the batch, `rows` their accounts' rows; `times` and `stamps` are epoch ms.
    """

    batch: Batch
    selected: NDArray[np.int64]
    rows: Rows
    times: NDArray[np.int64]
    offsets: NDArray[np.int64]
    stamps: NDArray[np.int64]
    already_applied: NDArray[np.bool_]

    def pick(self, mask: NDArray[np.bool_]) -> Candidates:
        """Only those under the mask."""
        return Candidates(
            self.batch,
            self.selected[mask],
            self.rows[mask],
            self.times[mask],
            self.offsets[mask],
            self.stamps[mask],
            self.already_applied[mask],
        )

    def erasures(self) -> NDArray[np.bool_] | None:
        """Which of them are controls that erase an account, bool (k,); None where none is."""
        if self.batch.source != CONTROL_SOURCE:
            return None
        erasing = np.array([_erases(event) for event in self.events()], dtype=np.bool_)
        return erasing if erasing.any() else None

    def events(self) -> list[Event]:
        """The events themselves."""
        events = self.batch.events
        return events if len(self.selected) == len(events) else [events[index] for index in self.selected.tolist()]


def sort_out(
    batch: Batch,
    number: int,
    *,
    accounts: Accounts,
    position: int,
    seen: SeenIds | None,
    now_ms: int | None,
    effects: Effects,
    earliest_ms: int = EARLIEST_MS,
) -> Candidates:
    """The candidates of a batch; all other records are counted, dead-lettered or forwarded in `effects`.

    `number` is the batch's number in its step, `position` the offset from which records have not been settled yet,
    `now_ms` the clock that decides what lies in the future (None: nothing does), `earliest_ms` the earliest time.
    Events already applied to their row stay candidates: their time moves the watermark and their id must be known.
    """
    offsets, stamps, times = batch.offsets, batch.stamps, times_ms(batch.events)
    _refuse(batch, number, position=position, effects=effects)
    limits_ms = earliest_ms, None if now_ms is None else now_ms + FUTURE_TOLERANCE_MS
    good = _plausible(batch, number, times, limits_ms, position=position, effects=effects)
    selected = np.arange(len(batch.events)) if good is None else np.flatnonzero(good)
    events = batch.events if good is None else [batch.events[index] for index in selected.tolist()]
    if good is not None:
        times, offsets, stamps = times[good], offsets[good], stamps[good]
    rows = accounts.index.rows([event.account_id for event in events])
    ids = hash_ids([event.id for event in events])
    accounts.reserve()
    blank = (rows == BLANK) | (ids == BLANK_HASH)
    if blank.any():
        _refuse_blank(batch, number, rows[blank], offsets[blank], position=position, effects=effects)
        named = ~blank
        events = [event for event, is_named in zip(events, named.tolist(), strict=True) if is_named]
        rows, ids, times, selected = rows[named], ids[named], times[named], selected[named]
        offsets, stamps = offsets[named], stamps[named]
    if len(rows) and int(rows.min()) >= 0 and int(offsets[0]) >= position:
        # The ordinary case: all ours, no replay.
        candidates = Candidates(
            batch, selected, rows, times, offsets, stamps, offsets <= accounts.applied_offsets[rows, batch.source_index]
        )
        if seen is None:
            return candidates
        fresh = seen.add_events(accounts.index.hashes_of(rows), ids, rows, int(stamps[0]))
        if fresh.all():
            return candidates
        effects.outcomes[batch.source, "duplicate"] += int((~fresh).sum())
        return candidates.pick(fresh)
    candidates = Candidates(batch, selected, rows, times, offsets, stamps, offsets < position)
    return _without_foreign_and_repeated(candidates, number, events, ids, accounts=accounts, seen=seen, effects=effects)


def _refuse(batch: Batch, number: int, *, position: int, effects: Effects) -> None:
    """Dead-letter the records of a batch that could not be decoded, and those that lost a field, which count."""
    for reject in batch.rejects:
        if reject.position >= position:
            effects.dead_letters.append(DeadLetter(number, reject.position, reject.reason, reject.message))
        if reject.whole:
            effects.outcomes[batch.source, "rejected" if reject.position >= position else "replayed"] += 1


def _refuse_blank(
    batch: Batch, number: int, rows: Rows, offsets: NDArray[np.int64], *, position: int, effects: Effects
) -> None:
    """Dead-letter events whose account id (row `BLANK`) or event id has nothing but white space."""
    for row, offset in zip(rows.tolist(), offsets.tolist(), strict=True):
        if offset >= position:
            field = "account_id" if row == BLANK else "id"
            message = f"{batch.source}: {field} must not be blank - at `$.{field}`"
            effects.dead_letters.append(DeadLetter(number, offset, INVALID_FIELD, message))
        effects.outcomes[batch.source, "rejected" if offset >= position else "replayed"] += 1


def _without_foreign_and_repeated(
    candidates: Candidates,
    number: int,
    events: list[Event],
    ids: Hashes,
    *,
    accounts: Accounts,
    seen: SeenIds | None,
    effects: Effects,
) -> Candidates:
    """The candidates of a batch that holds accounts of other partitions (row -1), or settled records.

    Settled records come marked as `already_applied`; those that their row has applied are marked too, in place.
    """
    rows, offsets, settled = candidates.rows, candidates.offsets, candidates.already_applied.copy()
    source, source_index, outcomes = candidates.batch.source, candidates.batch.source_index, effects.outcomes
    foreign = rows < 0
    if foreign.any():
        for index in np.flatnonzero(foreign & ~settled).tolist():
            effects.forwards.append(Forward(number, int(offsets[index]), events[index].account_id.strip()))
        outcomes[source, "forwarded"] += int((foreign & ~settled).sum())
        outcomes[source, "replayed"] += int((foreign & settled).sum())
    keep = ~foreign
    candidates.already_applied[keep] |= offsets[keep] <= accounts.applied_offsets[rows[keep], source_index]
    if seen is not None:
        # A settled record's id is made known again: the crash may have come between its row and its id.
        fresh, ours = np.zeros(len(events), dtype=bool), rows[keep]
        stamp_ms = int(candidates.stamps[0]) if len(events) else 0
        fresh[keep] = seen.add_events(accounts.index.hashes_of(ours), ids[keep], ours, stamp_ms)
        repeated = keep & ~fresh & ~settled
        outcomes[source, "duplicate"] += int(repeated.sum())
        keep &= ~repeated
    return candidates if keep.all() else candidates.pick(keep)


def _plausible(
    batch: Batch,
    number: int,
    times: NDArray[np.int64],
    limits_ms: tuple[int, int | None],
    *,
    position: int,
    effects: Effects,
) -> NDArray[np.bool_] | None:
    """Which event times lie between the limits, bool (k,); None when all do. The others are dead-lettered."""
    earliest_ms, latest_ms = limits_ms
    if not len(times) or (int(times.min()) >= earliest_ms and (latest_ms is None or int(times.max()) <= latest_ms)):
        return None
    good = np.ones(len(times), dtype=bool)
    for index, time in enumerate(times.tolist()):
        refused = refusal(time, earliest_ms, latest_ms)
        if refused is None:
            continue
        good[index] = False
        offset, (reason, message) = int(batch.offsets[index]), refused
        if offset >= position:
            effects.dead_letters.append(DeadLetter(number, offset, reason, f"{batch.source}: {message} - at `$.time`"))
        effects.outcomes[batch.source, "rejected" if offset >= position else "replayed"] += 1
    return good
