"""Batches of decoded records of one source partition, and which of their events may count.

Owns the step from events to arrays and the first checks of every record: impossible times, accounts of other
partitions, offsets already applied, repeated ids. Called by `stream.engine.engine`; batches are made by
`agents.worker.tasks.records` and `agents.files.replay`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.codecs import INVALID_FIELD, Reject
from schemas.event_columns import EventColumns, take_events, times_of
from schemas.events import CONTROL_SOURCE, ControlEvent, Event
from schemas.native.library import hash_texts
from schemas.plausible_times import EARLIEST_MS, FUTURE_TOLERANCE_MS, refusal
from schemas.sources import INBOX
from stream.accounts.accounts import Accounts
from stream.accounts.index import BLANK
from stream.columns.columns import Rows
from stream.columns.hash_index import BLANK_HASH, Hashes, hash_ids
from stream.ingest.event_ids import SeenIds
from stream.publishing.effects import DeadLetter, Effects, Forward

ERASE = "erase"
MERGE = "merge"


class MergedFrom(NamedTuple):
    """Where a record comes from that was forwarded because of a merge; its event has the account that it counts for.

    `origin` is what it was read from, `INPUT/PARTITION/SOURCE`, and `offset` its offset there. An input can have
    records of several sources, and those of one source are applied and forwarded in the order of offsets.
    """

    account: str
    origin: str
    offset: int


@dataclass(slots=True)
class Batch:
    """Records of one source partition, in offset order.

    `offsets` and `stamps` (record time, ms) have one entry for each of `events`; `rejects` are records that could not
    be decoded, with offsets as positions; `end` is the offset after the last record of the batch, whatever became of
    it. `repartitioned` says that the records were read from the repartition topic, so that offsets are that topic's;
    its records come as one batch a source, and one of those that were forwarded because of a merge: `merged` has where
    each comes from. The events of source `PEERS_INPUT` are peer tables (`PeersMessage`), cast.
    """

    source: str
    offsets: NDArray[np.int64]
    stamps: NDArray[np.int64]
    events: Sequence[Event]
    end: int
    rejects: list[Reject] = field(default_factory=list)
    repartitioned: bool = False
    merged: list[MergedFrom] | None = None
    origin: object = None
    """Whatever the caller needs to find the raw records again; the engine does not read it."""
    forms: Mapping[str, int] = field(default_factory=dict)
    """How many of the fetched records were recognised in which other form; for metrics."""

    @property
    def input(self) -> str:
        """Which input, and so which applied offset of a row, this batch counts for: its source, or `INBOX`."""
        return INBOX if self.repartitioned else self.source

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
            merged=None if self.merged is None else self.merged[:count],
        )

    def since(self, offset: int) -> Batch:
        """The records from this offset on."""
        count = int(np.searchsorted(self.offsets, offset))
        rejects = [reject for reject in self.rejects if reject.position >= offset]
        return replace(
            self,
            offsets=self.offsets[count:],
            stamps=self.stamps[count:],
            events=self.events[count:],
            rejects=rejects,
            merged=None if self.merged is None else self.merged[count:],
            forms={},  # `before` has them
        )


def kind_of(event: Event) -> str | None:
    """The kind of a control; None for other events."""
    return event.kind if isinstance(event, ControlEvent) else None


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
    indexes = np.flatnonzero(known).tolist()
    return replace(
        batch,
        offsets=batch.offsets[known],
        stamps=batch.stamps[known],
        events=take_events(batch.events, np.flatnonzero(known)),
        rejects=rejects,
        merged=None if batch.merged is None else [batch.merged[index] for index in indexes],
    )


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

    def of_kind(self, kind: str) -> NDArray[np.bool_] | None:
        """Which of them are controls of a kind, bool (k,); None where none is."""
        if self.batch.source != CONTROL_SOURCE:
            return None
        of_kind = np.array([kind_of(event) == kind for event in self.events()], dtype=np.bool_)
        return of_kind if of_kind.any() else None

    def forwarded_by(self, index: int) -> str | None:
        """The account whose partition has forwarded one of them, because it was merged; None for other records."""
        merged = self.batch.merged
        return None if merged is None else merged[int(self.selected[index])].account

    def event(self, index: int) -> Event:
        """One of the events."""
        return self.batch.events[int(self.selected[index])]

    def events(self) -> Sequence[Event]:
        """The events themselves."""
        events = self.batch.events
        return events if len(self.selected) == len(events) else take_events(events, self.selected)


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
    offsets, stamps, times = batch.offsets, batch.stamps, times_of(batch.events)
    _refuse(batch, number, position=position, effects=effects)
    limits_ms = earliest_ms, None if now_ms is None else now_ms + FUTURE_TOLERANCE_MS
    good = _plausible(batch, number, times, limits_ms, position=position, effects=effects)
    selected = np.arange(len(batch.events)) if good is None else np.flatnonzero(good)
    events = batch.events if good is None else take_events(batch.events, selected)
    if good is not None:
        times, offsets, stamps = times[good], offsets[good], stamps[good]
    rows = accounts.index.rows_of(events)
    ids = _ids(events, seen)
    accounts.reserve()
    blank = (rows == BLANK) | (ids == BLANK_HASH)
    if np.count_nonzero(blank):
        _refuse_blank(batch, number, rows[blank], offsets[blank], position=position, effects=effects)
        named = ~blank
        events = take_events(events, np.flatnonzero(named))
        rows, ids, times, selected = rows[named], ids[named], times[named], selected[named]
        offsets, stamps = offsets[named], stamps[named]
    ordinary = batch.merged is None and not accounts.merges.into
    if ordinary and len(rows) and not np.count_nonzero(rows < 0) and int(offsets[0]) >= position:
        # The ordinary case: all ours, no replay, no merged accounts.
        applied = accounts.applied_offsets[:, accounts.sources.index[batch.input]][rows]
        candidates = Candidates(batch, selected, rows, times, offsets, stamps, offsets <= applied)
        if seen is None:
            return candidates
        fresh = seen.add_events(accounts.index.hashes_of(rows), ids, rows, int(stamps[0]))
        if np.count_nonzero(fresh) == len(fresh):
            return candidates
        effects.outcomes[batch.source, "duplicate"] += int((~fresh).sum())
        return candidates.pick(fresh)
    candidates = Candidates(batch, selected, rows, times, offsets, stamps, offsets < position)
    seen = seen if batch.merged is None else None  # the partition that forwarded them has dropped repetitions
    return _without_foreign_and_repeated(candidates, number, events, ids, accounts=accounts, seen=seen, effects=effects)


def _ids(events: Sequence[Event], seen: SeenIds | None) -> Hashes:
    """The hash of each id, uint64 (k,); without deduplication only whether it is blank: `BLANK_HASH`, else 1."""
    if isinstance(events, EventColumns):
        hashes = hash_texts(events.library, events.texts("id"))
        hashes[hashes == 0] = BLANK_HASH
        if events.others:
            hashes[list(events.others)] = hash_ids([event.id for event in events.others.values()])
        return hashes
    ids = [event.id for event in events]
    return np.ones(len(ids), dtype=np.uint64) if seen is None and all(map(str.strip, ids)) else hash_ids(ids)


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
    events: Sequence[Event],
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
    source, outcomes = candidates.batch.source, effects.outcomes
    source_index = accounts.sources.index[candidates.batch.input]
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
    good = times >= earliest_ms
    if latest_ms is not None:
        good &= times <= latest_ms
    if np.count_nonzero(good) == len(good):
        return None
    for index in np.flatnonzero(~good).tolist():
        refused = refusal(int(times[index]), earliest_ms, latest_ms)
        assert refused is not None, "it lies between the limits"
        offset, (reason, message) = int(batch.offsets[index]), refused
        if offset >= position:
            effects.dead_letters.append(DeadLetter(number, offset, reason, f"{batch.source}: {message} - at `$.time`"))
        effects.outcomes[batch.source, "rejected" if offset >= position else "replayed"] += 1
    return good
