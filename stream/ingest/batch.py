"""What the engine is given: the decoded records of one source partition, in offset order.

Owns the step from events to arrays and the first sorting-out: times no clock could have shown, accounts of other
partitions, records already counted, ids already seen. Called by `stream.engine.engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from schemas.codecs import EARLIEST_MS, FUTURE_TOLERANCE_MS, IMPLAUSIBLE_TIME, IN_THE_FUTURE, Reject, times_ms
from schemas.events import Event
from schemas.peers import PeersMessage
from stream.accounts.accounts import ROW_SOURCES, Accounts
from stream.columns.columns import Rows
from stream.columns.hash_index import hash_ids
from stream.ingest.event_ids import SeenIds
from stream.publishing.effects import DeadLetter, Effects, Forward

PEERS = "peers"
INPUT_SOURCES = (*ROW_SOURCES, PEERS)
"""Everything a lane reads: what changes single accounts and has a fence in their rows, then the tables of peers."""
REPARTITION_INDEX = INPUT_SOURCES.index("inbox")


@dataclass(slots=True)
class Batch:
    """Records of one source partition.

    `offsets` and `stamps` (record time, ms) have one entry an event of `events`; `rejects` carry offsets as their
    index; `end` is the offset after the last record of the batch, whatever became of it. `repartitioned` tells that the
    records were read from the inbox topic, so that their offsets are the inbox's; the inbox's records come as one
    batch a source. The events of source `PEERS` are the messages of tables, cast.
    """

    source: str
    offsets: NDArray[np.int64]
    stamps: NDArray[np.int64]
    events: list[Event]
    end: int
    rejects: list[Reject] = field(default_factory=list)
    repartitioned: bool = False
    origin: object = None
    """Whatever the caller needs to find the raw records again; the engine does not look at it."""

    @property
    def source_index(self) -> int:
        """Which fence of a row guards this batch."""
        return REPARTITION_INDEX if self.repartitioned else INPUT_SOURCES.index(self.source)

    def before(self, offset: int) -> Batch:
        """The part with smaller offsets."""
        count = int(np.searchsorted(self.offsets, offset))
        rejects = [reject for reject in self.rejects if reject.place < offset]
        return replace(
            self,
            offsets=self.offsets[:count],
            stamps=self.stamps[:count],
            events=self.events[:count],
            end=offset,
            rejects=rejects,
        )

    def since(self, offset: int) -> Batch:
        """The part from this offset on."""
        count = int(np.searchsorted(self.offsets, offset))
        rejects = [reject for reject in self.rejects if reject.place >= offset]
        return replace(
            self, offsets=self.offsets[count:], stamps=self.stamps[count:], events=self.events[count:], rejects=rejects
        )


class Turn(NamedTuple):
    """Part of a step: batches with their numbers in the step, then the tables of peers that came after them."""

    batches: list[tuple[int, Batch]]
    table: PeersMessage | None
    offset: int


def in_turn(batches: Sequence[Batch]) -> list[Turn]:
    """A step in the order of the log around tables of peers: nearly always one turn without a table.

    At equal record times a table comes after events and profiles.
    """
    rest = [(at, batch) for at, batch in enumerate(batches) if batch.source != PEERS]
    turns = []
    for batch in batches if len(rest) < len(batches) else ():
        tables = cast("list[PeersMessage]", batch.events) if batch.source == PEERS else []
        for table, stamp, offset in zip(tables, batch.stamps.tolist(), batch.offsets.tolist(), strict=False):
            now, later = [], []
            for at, part in rest:
                count = int(np.searchsorted(np.maximum.accumulate(part.stamps), stamp, side="right"))
                if count == len(part.offsets):
                    now.append((at, part))
                elif count:
                    cut = int(part.offsets[count])
                    now.append((at, part.before(cut)))
                    later.append((at, part.since(cut)))
                else:
                    later.append((at, part))
            turns.append(Turn(now, table, offset))
            rest = later
    return [*turns, Turn(rest, None, 0)]


@dataclass(slots=True)
class Candidates:
    """The events of a batch that may count, as arrays of shape (k,)."""

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

    def events(self) -> list[Event]:
        """The events themselves."""
        events = self.batch.events
        return events if len(self.selected) == len(events) else [events[at] for at in self.selected.tolist()]


def sort_out(
    batch: Batch,
    at: int,
    *,
    accounts: Accounts,
    position: int,
    seen: SeenIds | None,
    now_ms: int | None,
    effects: Effects,
) -> Candidates:
    """The candidates of a batch; everything else is counted, dead-lettered or forwarded in `effects`.

    `at` is the batch's number in its step, `position` the offset from which records have not been settled yet,
    `now_ms` the clock that decides what lies in the future (None: files, where nothing does). Fenced candidates are
    already in their row; they stay, because their time moves the watermark and their id must be known.
    """
    source, outcomes = batch.source, effects.outcomes
    offsets, stamps = batch.offsets, batch.stamps
    for reject in batch.rejects:
        if reject.place >= position:
            effects.dead.append(DeadLetter(at, reject.place, reject.reason, reject.message))
        outcomes[source, "rejected" if reject.place >= position else "replayed"] += 1
    times = times_ms(batch.events)
    good = _plausible(batch, at, times, position=position, now_ms=now_ms, effects=effects)
    selected = np.arange(len(batch.events)) if good is None else np.flatnonzero(good)
    events = batch.events if good is None else [batch.events[index] for index in selected.tolist()]
    if good is not None:
        times, offsets, stamps = times[good], offsets[good], stamps[good]
    rows = accounts.index.rows([event.account_id for event in events])
    accounts.reserve()
    if len(rows) and int(rows.min()) >= 0 and int(offsets[0]) >= position:
        # The ordinary case: all ours, no replay.
        found = Candidates(
            batch, selected, rows, times, offsets, stamps, offsets <= accounts.applied_offsets[rows, batch.source_index]
        )
        if seen is None:
            return found
        fresh = seen.add(hash_ids([event.id for event in events]), int(stamps[0]))
        if fresh.all():
            return found
        outcomes[source, "duplicate"] += int((~fresh).sum())
        return found.pick(fresh)
    settled = offsets < position
    if (rows < 0).any():
        for index in np.flatnonzero((rows < 0) & ~settled).tolist():
            effects.forwards.append(Forward(at, int(offsets[index]), events[index].account_id))
        outcomes[source, "forwarded"] += int(((rows < 0) & ~settled).sum())
        outcomes[source, "replayed"] += int(((rows < 0) & settled).sum())
    keep = rows >= 0
    already_applied = settled.copy()
    already_applied[keep] |= offsets[keep] <= accounts.applied_offsets[rows[keep], batch.source_index]
    if seen is not None:
        ids = hash_ids([event.id for event in events])
        # A settled record's id is made known again: the crash may have come between its row and its id.
        fresh = np.zeros(len(events), dtype=bool)
        fresh[keep] = seen.add(ids[keep], int(stamps[0]) if len(stamps) else 0)
        repeated = keep & ~fresh & ~settled
        outcomes[source, "duplicate"] += int(repeated.sum())
        keep &= ~repeated
    found = Candidates(batch, selected, rows, times, offsets, stamps, already_applied)
    return found if keep.all() else found.pick(keep)


def _plausible(
    batch: Batch, at: int, times: NDArray[np.int64], *, position: int, now_ms: int | None, effects: Effects
) -> NDArray[np.bool_] | None:
    """Which times can be true; None when all can."""
    latest = np.iinfo(np.int64).max if now_ms is None else now_ms + FUTURE_TOLERANCE_MS
    if not len(times) or (int(times.min()) >= EARLIEST_MS and int(times.max()) <= latest):
        return None
    early, future = times < EARLIEST_MS, times > latest
    for index in np.flatnonzero(early | future).tolist():
        offset, time = int(batch.offsets[index]), int(times[index])
        if early[index]:
            reason, message = (
                IMPLAUSIBLE_TIME,
                f"time {time} ms lies before 2000; is it in seconds? milliseconds are expected",
            )
        else:
            reason, message = IN_THE_FUTURE, f"time {time} ms is more than 5 minutes ahead of the clock ({now_ms} ms)"
        if offset >= position:
            effects.dead.append(DeadLetter(at, offset, reason, f"{batch.source}: {message} - at `$.time`"))
        effects.outcomes[batch.source, "rejected" if offset >= position else "replayed"] += 1
    return ~(early | future)
